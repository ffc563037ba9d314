namespace K8sReq.Core

open System.Text.RegularExpressions

/// A text that is shown nowhere: not in a log, not on a page, not in an error.
[<Struct; StructuredFormatDisplay("***"); CustomEquality; NoComparison>]
type Secret =
    private
    | Secret of string

    override _.ToString() = "***"

    override this.Equals other =
        match other, this with
        | (:? Secret as other), Secret own ->
            let (Secret text) = other
            text = own
        | _ -> false

    override _.GetHashCode() = 0

module Secret =
    let create (text: string) : Secret = Secret text

    /// To be handed on, and kept nowhere.
    let reveal (Secret text) : string = text

    // Wherever it stands, and whatever it has that should have been escaped: of a database's URI all counts up to the last @.
    let private userInfo =
        Regex(
            "(postgres(?:ql)?://[^:]*):.*@|([A-Za-z][A-Za-z0-9+.-]*://[^:/?#]*):[^/?#]*@",
            RegexOptions.Singleline ||| RegexOptions.IgnoreCase
        )

    let private parameter =
        Regex("(password\\s*=\\s*)[^\\s;&]*", RegexOptions.IgnoreCase)

    /// Whether a text has something that looks like a password.
    let isIn (text: string) : bool =
        userInfo.IsMatch text || parameter.IsMatch text

    /// A text that may be a URI, as it can be shown: without the password in it.
    let mask (text: string) : string =
        parameter.Replace(userInfo.Replace(text, "$1$2:***@"), "$1***")
