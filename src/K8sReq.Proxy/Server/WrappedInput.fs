namespace K8sReq.Proxy

open System.IO.Pipelines
open System.Threading.Tasks

/// A connection's input with something between it and the server, which looks at what is read or holds it back.
[<AbstractClass>]
type WrappedInput(inner: PipeReader) =
    inherit PipeReader()

    /// What has been read, as the server gets it.
    abstract HandOn: ReadResult -> ReadResult

    /// The server asks for more: completed when it may be read. Must not fail.
    abstract BeforeRead: unit -> Task
    default _.BeforeRead() = Task.CompletedTask

    override reader.TryRead(result: byref<ReadResult>) =
        let hasRead = inner.TryRead &result

        if hasRead then
            result <- reader.HandOn result

        hasRead

    override reader.ReadAsync cancelled =
        let mayRead = reader.BeforeRead()

        let readLater () = task {
            do! mayRead
            let! result = inner.ReadAsync cancelled
            return reader.HandOn result
        }

        if not mayRead.IsCompletedSuccessfully then
            ValueTask<ReadResult>(readLater ())
        else
            let pending = inner.ReadAsync cancelled

            if pending.IsCompletedSuccessfully then
                ValueTask<ReadResult>(reader.HandOn pending.Result)
            else
                ValueTask<ReadResult>(
                    task {
                        let! result = pending
                        return reader.HandOn result
                    }
                )

    override _.AdvanceTo(consumed, examined) = inner.AdvanceTo(consumed, examined)
    override reader.AdvanceTo consumed = reader.AdvanceTo(consumed, consumed)
    override _.CancelPendingRead() = inner.CancelPendingRead()
    override _.Complete error = inner.Complete error
    override _.CompleteAsync error = inner.CompleteAsync error
