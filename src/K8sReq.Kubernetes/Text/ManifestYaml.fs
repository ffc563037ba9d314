/// YAML as kubectl reads it, to JSON documents.
module K8sReq.Kubernetes.ManifestYaml

open System
open System.Buffers
open System.Collections.Generic
open System.Globalization
open System.IO
open System.Text.Json
open YamlDotNet.Core
open YamlDotNet.Core.Events
open YamlDotNet.RepresentationModel
open K8sReq.Kubernetes.ManifestText

// An alias repeats all of what it stands for; a few lines of YAML can mean billions of nodes. So many may come of aliases;
// nodes that are written out, of which a text has fewer than characters, are as many as there are.
let private mostFromAliases = 1_000_000

// Characters of what is repeated, together; those that are written out are as many as there are.
let private mostCharactersFromAliases = 16_000_000

let private isNull (text: string) =
    match text with
    | ""
    | "~"
    | "null"
    | "Null"
    | "NULL" -> true
    | _ -> false

// kubectl reads YAML 1.1, where these words are booleans too.
let private tryBoolean (text: string) =
    match text.ToLowerInvariant() with
    | "true"
    | "yes"
    | "on"
    | "y" -> Some true
    | "false"
    | "no"
    | "off"
    | "n" -> Some false
    | _ -> None

// YAML 1.1 has integers of other bases, too: what begins with 0 is octal. The API server reads them so.
let private tryInteger (text: string) =
    let digits = text.TrimStart('+', '-')

    let ofBase (prefix: int) (radix: int) (isDigit: char -> bool) =
        let digits = digits.Substring(prefix).Replace("_", "")

        if digits.Length > 0 && Seq.forall isDigit digits then
            try
                let number = Convert.ToInt64(digits, radix)
                Some(if text.StartsWith '-' then -number else number)
            with :? OverflowException ->
                None
        else
            None

    let isBelow (limit: char) (digit: char) = digit >= '0' && digit < limit

    if digits.Length < text.Length - 1 then
        None
    elif digits.StartsWith "0x" then
        ofBase 2 16 Char.IsAsciiHexDigit
    elif digits.StartsWith "0o" then
        ofBase 2 8 (isBelow '8')
    elif digits.StartsWith "0b" then
        ofBase 2 2 (isBelow '2')
    elif digits.StartsWith '0' && digits.Length > 1 then
        ofBase 1 8 (isBelow '8')
    else
        let decimal =
            if digits.StartsWith '_' then
                text
            else
                text.Replace("_", "")

        match Int64.TryParse(decimal, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture) with
        | true, number -> Some number
        | _ -> None

let private tryFloat (text: string) =
    let looksLikeOne =
        text |> Seq.forall (fun c -> Char.IsAsciiDigit c || "+-.eE".Contains c)
        && text |> Seq.exists Char.IsAsciiDigit

    match Double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture) with
    | true, number when looksLikeOne && Double.IsFinite number -> Some number
    | _ -> None

let private writePlain (writer: Utf8JsonWriter) (text: string) =
    if isNull text then
        writer.WriteNullValue()
    else
        match tryBoolean text, tryInteger text, tryFloat text with
        | Some value, _, _ -> writer.WriteBooleanValue value
        | _, Some value, _ -> writer.WriteNumberValue value
        | _, _, Some value -> writer.WriteNumberValue value
        | None, None, None -> writer.WriteStringValue text

let private isPlain (scalar: YamlScalarNode) =
    scalar.Style = ScalarStyle.Plain && scalar.Tag.IsEmpty

let private refuse (node: YamlNode) (reason: string) : 'T =
    let mutable first = node.Start
    let mutable last = node.End
    raise (YamlException(&first, &last, reason))

let private keyOf (node: YamlNode) =
    match node with
    | :? YamlScalarNode as scalar -> string scalar.Value
    | other -> refuse other "A key must be a scalar"

let private isMergeKey (node: YamlNode) =
    match node with
    | :? YamlScalarNode as scalar -> isPlain scalar && scalar.Value = "<<"
    | _ -> false

// What may still come of aliases, and what mappings have with all that they merge in; None while that is being found out.
[<NoEquality; NoComparison>]
type private Expansion = {
    mutable Left: int
    mutable CharactersLeft: int
    Entries: Dictionary<YamlNode, (string * YamlNode) list option>
}

let private spend (expansion: Expansion) (nodes: int) (node: YamlNode) =
    expansion.Left <- expansion.Left - nodes

    match node with
    | :? YamlScalarNode as scalar ->
        expansion.CharactersLeft <- expansion.CharactersLeft - (string scalar.Value).Length
    | _ -> ()

    if expansion.Left < 0 || expansion.CharactersLeft < 0 then
        refuse node "The document's aliases stand for too much"

// A mapping's own entries, then those that it merges in (YAML 1.1, "<<") and does not have itself.
let rec private entries (expansion: Expansion) (mapping: YamlMappingNode) : (string * YamlNode) list =
    match expansion.Entries.TryGetValue mapping with
    | true, Some known -> known
    | true, None -> refuse mapping "A mapping cannot merge itself"
    | false, _ ->
        expansion.Entries[mapping] <- None

        let merges, own =
            mapping.Children
            |> List.ofSeq
            |> List.partition (fun entry -> isMergeKey entry.Key)

        let mergedFrom (value: YamlNode) =
            match value with
            | :? YamlMappingNode as other ->
                let found = entries expansion other
                spend expansion found.Length value
                found
            | other -> refuse other "Only mappings can be merged"

        let merged (value: YamlNode) =
            match value with
            | :? YamlSequenceNode as sequence -> sequence.Children |> List.ofSeq |> List.collect mergedFrom
            | other -> mergedFrom other

        let all =
            (own |> List.map (fun entry -> keyOf entry.Key, entry.Value))
            @ (merges |> List.collect (fun entry -> merged entry.Value))
            |> List.distinctBy fst

        expansion.Entries[mapping] <- Some all
        all

let rec private write (writer: Utf8JsonWriter) (expansion: Expansion) (node: YamlNode) =
    spend expansion 1 node

    match node with
    | :? YamlScalarNode as scalar when isPlain scalar -> writePlain writer (string scalar.Value)
    | :? YamlScalarNode as scalar -> writer.WriteStringValue scalar.Value
    | :? YamlSequenceNode as sequence ->
        writer.WriteStartArray()

        for item in sequence.Children do
            write writer expansion item

        writer.WriteEndArray()
    | :? YamlMappingNode as mapping ->
        writer.WriteStartObject()

        for key, value in entries expansion mapping do
            writer.WritePropertyName key
            write writer expansion value

        writer.WriteEndObject()
    | other -> refuse other "This node is not understood"

let private toJson (length: int) (mostNodes: int) (root: YamlNode) =
    let buffer = ArrayBufferWriter<byte>()

    do
        use writer = new Utf8JsonWriter(buffer)

        let expansion = {
            Left = mostNodes
            CharactersLeft = mostCharactersFromAliases + length
            Entries = Dictionary HashIdentity.Reference
        }

        write writer expansion root

    use document = JsonDocument.Parse buffer.WrittenMemory
    document.RootElement.Clone()

let private isEmptyDocument (root: YamlNode) =
    match root with
    | :? YamlScalarNode as scalar -> isPlain scalar && isNull (string scalar.Value)
    | _ -> false

let private reasonOf (error: exn) = error.GetBaseException().Message

// As deep as JSON documents may be, too; far deeper ones would overflow the loader's stack.
let private deepest = 64

let private refuseEvent (event: ParsingEvent) (reason: string) : 'T =
    let mutable first = event.Start
    let mutable last = event.End
    raise (YamlException(&first, &last, reason))

// Where a parser stands in a mapping, or in a list.
[<RequireQualifiedAccess; Struct>]
type private Level =
    | InList
    | AtKey
    | AtValue

// Goes through a text event by event, and refuses what the loader could not take: too many levels, and keys that are
// lists or mappings. Loaded, a key is compared with others by all that it holds, and a few of them that hold each other
// twice take for ever.
let private checkShape (scanner: Scanner) =
    let parser = Parser scanner
    let levels = Stack<Level>()
    let scalars = HashSet<string>()

    // A node has ended: what comes next in its mapping is a value, or a key.
    let ended () =
        if levels.Count > 0 then
            match levels.Pop() with
            | Level.AtKey -> levels.Push Level.AtValue
            | Level.AtValue -> levels.Push Level.AtKey
            | Level.InList -> levels.Push Level.InList

    let isKey () =
        levels.Count > 0 && levels.Peek() = Level.AtKey

    let begins (event: ParsingEvent) (level: Level) =
        if isKey () then
            refuseEvent event "A key must be a scalar"

        levels.Push level

        if levels.Count > deepest then
            refuseEvent event $"There are more than {deepest} levels"

    while parser.MoveNext() do
        match parser.Current with
        | :? Scalar as scalar ->
            if not scalar.Anchor.IsEmpty then
                scalars.Add scalar.Anchor.Value |> ignore

            ended ()
        | :? AnchorAlias as alias ->
            if isKey () && not (scalars.Contains alias.Value.Value) then
                refuseEvent alias "A key must be a scalar"

            ended ()
        | :? MappingStart as start -> begins start Level.AtKey
        | :? SequenceStart as start -> begins start Level.InList
        | :? MappingEnd
        | :? SequenceEnd ->
            levels.Pop() |> ignore
            ended ()
        | _ -> ()

let private documentsOf (length: int) (mostNodes: int) (stream: YamlStream) : Document list = [
    for document in stream.Documents do
        if not (isEmptyDocument document.RootNode) then
            {
                Line = int document.RootNode.Start.Line
                Root = toJson length mostNodes document.RootNode
            }
]

/// All documents of a YAML file, the empty ones left out. So many nodes of one may come of aliases.
let parseWithin (mostFromAliases: int) (text: string) : Result<Document list, TextError> =
    let scanner = Scanner(new StringReader(text))

    try
        checkShape scanner
        let stream = YamlStream()
        stream.Load(Parser(new StringReader(text)))
        Ok(documentsOf text.Length (mostFromAliases + text.Length) stream)
    with
    | :? YamlException as error ->
        Error {
            Line = int error.Start.Line
            Reason = reasonOf error
        }
    // The parser answers some malformed texts so, without a place; then it is where the scanner stands. So does the
    // writer where JSON cannot say what stands there: a lone half of a surrogate pair, too many levels behind aliases.
    | :? ArgumentException
    | :? InvalidOperationException
    | :? JsonException as error ->
        Error {
            Line = int scanner.CurrentPosition.Line
            Reason = error.Message
        }

/// All documents of a YAML file, the empty ones left out.
let parse (text: string) : Result<Document list, TextError> = parseWithin mostFromAliases text
