namespace K8sReq.Proxy

open System
open System.IO
open System.IO.Pipelines
open System.Threading.Tasks
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Server.Kestrel.Core
open Microsoft.AspNetCore.Server.Kestrel.Core.Features
open K8sReq.Core

/// Where it counts what a server's connections hold besides whole requests.
[<NoEquality; NoComparison>]
type ConnectionMemory = {
    Budget: BufferBudget
    Shares: ClientShares
}

module ConnectionMemory =
    // Bytes of a connection of HTTP/2: the heads that it reads ahead (see `Http2Heads`), each of 64 KiB as strings.
    let private http2Connection = 512L * 1024L

    // Bytes of a head of HTTP/1.1 that does not come at once: 64 KiB and 500 fields as strings.
    let private slowHead = 192L * 1024L

    // Where there is little memory there is room for a few of them all the same.
    let private within (budget: BufferBudget) (bytes: int64) = min bytes (budget.Total / 16L)

    // None where the system does not say.
    let private descriptors () =
        try
            ConnectionLimit.tryDescriptors (File.ReadAllText "/proc/self/limits")
        with
        | :? IOException
        | :? UnauthorizedAccessException -> None

    // For probes, metrics and the page, and for files: code that has not been loaded yet.
    let private keptDescriptors = 64

    /// The highest descriptor that a client's connection may have.
    let highestDescriptor () : int =
        match descriptors () with
        | Some most -> int (min (int64 Int32.MaxValue) most) - keptDescriptors
        | None -> Int32.MaxValue

    /// How many connections of clients there may be by the memory and the descriptors that this process may have.
    let mostConnections () : int =
        ConnectionLimit.byResources (GC.GetGCMemoryInfo().TotalAvailableMemoryBytes) (descriptors ())

    let private abort (connection: ConnectionContext) () =
        connection.Abort(ConnectionAbortedException "The memory for requests is spent.")

    let private readBy (input: PipeReader) (connection: ConnectionContext) =
        let output = connection.Transport.Output

        connection.Transport <- {
            new IDuplexPipe with
                member _.Input = input
                member _.Output = output
        }

    let private serveHttp1
        (budget: BufferBudget)
        (allowance: Allowance)
        (next: ConnectionDelegate)
        (connection: ConnectionContext)
        : Task = task {
        let lines =
            RequestLines(connection.Transport.Input, allowance, within budget slowHead, abort connection)

        readBy lines connection
        connection.Features.Set<RequestLines> lines

        try
            do! next.Invoke connection
        finally
            lines.Ended()
    }

    let private serveHttp2
        (budget: BufferBudget)
        (allowance: Allowance)
        (next: ConnectionDelegate)
        (connection: ConnectionContext)
        : Task = task {
        let bytes = within budget http2Connection

        if allowance.TryTake bytes then
            let heads = Http2Heads(connection.Transport.Input, TimeProvider.System)
            readBy heads connection
            connection.Features.Set<Http2Heads> heads

            try
                do! next.Invoke connection
            finally
                allowance.Return bytes
        else
            abort connection ()
    }

    /// Adds to an endpoint that what its connections hold counts, and that their heads are read as `RequestLines` and
    /// `Http2Heads` say. After the choice of the protocol. Sets the client's share as a feature of the connection.
    let guard (memory: ConnectionMemory) (endpoint: ListenOptions) : unit =
        let serve (next: ConnectionDelegate) (connection: ConnectionContext) : Task = task {
            let share = memory.Shares.Enter connection.RemoteEndPoint
            connection.Features.Set<BudgetShare> share
            let allowance = Allowance(memory.Budget, null, share)

            try
                // Set where HTTP/2 was chosen.
                match connection.Features.Get<ITlsApplicationProtocolFeature>() with
                | null -> do! serveHttp1 memory.Budget allowance next connection
                | _ -> do! serveHttp2 memory.Budget allowance next connection
            finally
                memory.Shares.Leave connection.RemoteEndPoint
        }

        endpoint.Use(fun next -> ConnectionDelegate(serve next)) |> ignore
