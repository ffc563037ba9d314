namespace K8sReq.Kubernetes

// The base class hands text over as pointers.
#nowarn "9"

open System
open System.Text
open System.Text.Encodings.Web
open Microsoft.FSharp.NativeInterop

/// Writes JSON in which only what has to be escaped is (RFC 8259 section 7): quotation mark, backslash, and controls. All
/// else is UTF-8.
///
/// The API server reads an applied patch as YAML, whose escapes know no surrogates: of a character beyond U+FFFF that is
/// written as a pair of escapes, as .NET's own encoders do, it says "invalid Unicode character escape code" (400).
[<Sealed>]
type PlainJsonEncoder private () =
    inherit JavaScriptEncoder()

    static let isEscaped (scalar: int) =
        scalar < 0x20 || scalar = int '"' || scalar = int '\\' || scalar = 0x7f

    static let write (text: string) (buffer: nativeptr<char>) (length: int) (written: byref<int>) =
        if text.Length > length then
            written <- 0
            false
        else
            text.AsSpan().CopyTo(Span<char>(NativePtr.toVoidPtr buffer, length))
            written <- text.Length
            true

    static member val Instance: PlainJsonEncoder = PlainJsonEncoder()

    /// `\u00XX`.
    override _.MaxOutputCharactersPerInputCharacter = 6

    override _.WillEncode(scalar: int) = isEscaped scalar

    override _.FindFirstCharacterToEncode(text: nativeptr<char>, length: int) =
        let span = ReadOnlySpan<char>(NativePtr.toVoidPtr text, length)
        let mutable found = -1
        let mutable index = 0

        while found < 0 && index < span.Length do
            let mutable rune = Rune()
            let mutable consumed = 0

            // Half a pair is no character: what replaces it is written by the base class.
            match Rune.DecodeFromUtf16(span.Slice index, &rune, &consumed) with
            | Buffers.OperationStatus.Done when not (isEscaped rune.Value) -> index <- index + consumed
            | _ -> found <- index

        found

    override _.TryEncodeUnicodeScalar
        (scalar: int, buffer: nativeptr<char>, length: int, written: byref<int>)
        =
        if isEscaped scalar then
            let escaped =
                if scalar = int '"' || scalar = int '\\' then
                    $"\\{char scalar}"
                else
                    $"\\u{scalar:x4}"

            write escaped buffer length &written
        else
            write (Rune(scalar).ToString()) buffer length &written
