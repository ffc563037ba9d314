/// The repository's Markdown files.
module K8sReq.Docs.Tests.Documents

open System
open System.IO
open System.Text.RegularExpressions
open K8sReq.TestKit

let root = PublishedProgram.Root

type Document = {
    /// From the root, with slashes.
    Path: string
    Text: string
}

let read (path: string) : Document = {
    Path = path
    Text = File.ReadAllText(Path.Combine(root, path))
}

// What is built or fetched is not ours.
let private isOfOthers (path: string) =
    [ "artifacts"; "bin"; "obj"; "node_modules"; ".git" ]
    |> List.exists (fun folder -> path.StartsWith(folder + "/") || path.Contains("/" + folder + "/"))

let all: Document list =
    Directory.GetFiles(root, "*.md", SearchOption.AllDirectories)
    |> Array.map (fun path -> Path.GetRelativePath(root, path).Replace('\\', '/'))
    |> Array.filter (isOfOthers >> not)
    |> Array.sort
    |> Array.map read
    |> List.ofArray

/// A fenced block of code.
type CodeBlock = {
    /// As the fence names it, such as `yaml`; empty for none.
    Language: string
    /// Of its first line, from 1.
    Line: int
    Text: string
}

/// The lines outside of fenced blocks, with their numbers from 1, and the blocks. A fence may be indented, as in a list: its
/// block is indented by as much less.
let split (document: Document) : (int * string) list * CodeBlock list =
    let prose, blocks, opened =
        (([], [], None), document.Text.Split '\n' |> Array.indexed)
        ||> Array.fold (fun (prose, blocks, opened) (index, line) ->
            let fence = Regex.Match(line, "^( *)```(\\S*)")

            match opened with
            | None when fence.Success ->
                prose, blocks, Some(fence.Groups[1].Length, fence.Groups[2].Value, index + 2, [])
            | None -> (index + 1, line) :: prose, blocks, None
            | Some(_, language, first, lines) when fence.Success && fence.Groups[2].Value = "" ->
                let block = {
                    Language = language
                    Line = first
                    Text = String.Join("\n", List.rev lines) + "\n"
                }

                prose, block :: blocks, None
            | Some(indent, language, first, lines) ->
                let inner =
                    if line.Length >= indent then
                        line.Substring indent
                    else
                        line

                prose, blocks, Some(indent, language, first, inner :: lines))

    match opened with
    | Some(_, _, first, _) -> failwith $"{document.Path}:{first}: this block has no end"
    | None -> List.rev prose, List.rev blocks
