/// The metrics of a program as a scrape gives them.
module K8sReq.TestKit.Scrape

open System
open System.Net.Http
open System.Threading.Tasks

let private client = new HttpClient()

/// What a path has.
let get (port: int) (path: string) : Task<string> =
    client.GetStringAsync $"http://127.0.0.1:{port}{path}"

/// What is scraped from there.
let text (port: int) : Task<string> =
    client.GetStringAsync $"http://127.0.0.1:{port}/metrics"

/// The series of a scrape: name and labels as they are written, and the value.
let series (text: string) : Map<string, float> =
    text.Split('\n', StringSplitOptions.RemoveEmptyEntries)
    |> Seq.filter (fun line -> not (line.StartsWith '#'))
    |> Seq.map (fun line ->
        let space = line.LastIndexOf ' '

        line.Substring(0, space),
        Double.Parse(line.Substring(space + 1), Globalization.CultureInfo.InvariantCulture))
    |> Map.ofSeq
