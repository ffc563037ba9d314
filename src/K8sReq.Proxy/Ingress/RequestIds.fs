/// Request ids: UUIDs of version 7 (RFC 9562), by which copies of a request and its dead letters are known.
module K8sReq.Proxy.RequestIds

open System

/// The next one: the time in milliseconds, then 74 random bits. They tell requests apart and are no secret, so that they come from
/// a generator in the process; `Guid.CreateVersion7` makes a system call for each.
let next (clock: TimeProvider) : Guid =
    let time = clock.GetUtcNow().ToUnixTimeMilliseconds()
    let high = Random.Shared.NextInt64()
    let low = Random.Shared.NextInt64()

    Guid(
        int32 (time >>> 16),
        int16 time,
        int16 (0x7000L ||| (high &&& 0x0FFFL)),
        // The variant, and six random bits.
        byte (0x80L ||| ((high >>> 12) &&& 0x3FL)),
        byte (high >>> 18),
        byte low,
        byte (low >>> 8),
        byte (low >>> 16),
        byte (low >>> 24),
        byte (low >>> 32),
        byte (low >>> 40)
    )
