namespace K8sReq.Core

open System

/// Names as the API server accepts them.
module KubernetesName =
    let private isAlphanumeric c =
        Char.IsAsciiLetterLower c || Char.IsAsciiDigit c

    let private isName maxLength (isInner: char -> bool) (text: string) =
        text.Length >= 1
        && text.Length <= maxLength
        && text |> Seq.forall (fun c -> isAlphanumeric c || isInner c)
        && isAlphanumeric text[0]
        && isAlphanumeric text[text.Length - 1]

    /// A DNS label (RFC 1123): the name of a namespace or a Service.
    let isLabel (text: string) : bool = isName 63 (fun c -> c = '-') text

    /// A DNS subdomain: the name of most objects.
    let isSubdomain (text: string) : bool =
        isName 253 (fun c -> c = '-' || c = '.') text
