namespace K8sReq.Core

open System

/// What was said of one thing lately, and what was left out.
[<Struct>]
type LogRateLimit = {
    /// When the first of its lines was said.
    Since: TimeSpan
    Said: int
    Omitted: int64
}

module LogRateLimit =
    /// Nothing was said yet.
    let fresh = {
        Since = TimeSpan.MinValue
        Said = 0
        Omitted = 0L
    }

    let private isOver (length: TimeSpan) (now: TimeSpan) (window: LogRateLimit) =
        window.Since = TimeSpan.MinValue || now - window.Since >= length

    /// There is something to say: whether to, and how many were left out before it that nobody has been told of. At most
    /// `most` lines in a time of `length`, which begins with the first.
    let offer
        (most: int)
        (length: TimeSpan)
        (now: TimeSpan)
        (window: LogRateLimit)
        : struct (LogRateLimit * bool * int64) =
        if isOver length now window then
            struct ({ Since = now; Said = 1; Omitted = 0L }, true, window.Omitted)
        elif window.Said < most then
            struct ({ window with Said = window.Said + 1 }, true, 0L)
        else
            struct ({
                        window with
                            Omitted = window.Omitted + 1L
                    },
                    false,
                    0L)

    /// Nothing came for a while: how many were left out that nobody has been told of, if its time is over. What is left is
    /// then fresh.
    let flush (length: TimeSpan) (now: TimeSpan) (window: LogRateLimit) : struct (LogRateLimit * int64) =
        if isOver length now window then
            struct (fresh, window.Omitted)
        else
            struct (window, 0L)
