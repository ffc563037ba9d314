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

/// The identity of a namespaced object. Two kinds may share a key; a key alone does not say which is meant.
type ObjectKey = {
    Namespace: string
    Name: string
} with

    /// `namespace/name`, as it is written in messages.
    override key.ToString() = $"{key.Namespace}/{key.Name}"

module ObjectKey =
    let create ns name = { Namespace = ns; Name = name }

/// What one listing covers: everything it does not contain does not exist.
[<RequireQualifiedAccess>]
type WatchScope =
    | AllNamespaces
    | Namespace of string

module WatchScope =
    /// Whether an object with this key would have been in a listing of the scope.
    let covers (scope: WatchScope) (key: ObjectKey) =
        match scope with
        | WatchScope.AllNamespaces -> true
        | WatchScope.Namespace ns -> key.Namespace = ns
