/// The system calls of the load generator. .NET's sockets would do, but take several times the CPU, and know no timer that
/// is finer than a millisecond.
module internal K8sReq.Bench.Libc

open System
open System.Runtime.InteropServices

[<DllImport("libc", SetLastError = true)>]
extern int private epoll_create1(int flags)

[<DllImport("libc", SetLastError = true)>]
extern int private epoll_ctl(int epoll, int operation, int descriptor, int[] interest)

[<DllImport("libc", SetLastError = true)>]
extern int private epoll_pwait2(int epoll, int[] events, int count, int64[] timeout, nativeint mask)

[<DllImport("libc", SetLastError = true)>]
extern nativeint private send(int socket, nativeint from, nativeint length, int flags)

[<DllImport("libc", SetLastError = true)>]
extern nativeint private recv(int socket, nativeint into, nativeint length, int flags)

[<DllImport("libc", SetLastError = true)>]
extern int private close(int descriptor)

[<DllImport("libc", SetLastError = true)>]
extern int private prctl(int option, unativeint a, unativeint b, unativeint c, unativeint d)

[<DllImport("libc", SetLastError = true)>]
extern int private clock_gettime(int clock, int64[] time)

let private dontWait = 0x40
let private noSignal = 0x4000
let private again = 11
let private interrupted = 4

let private failed call =
    failwith $"{call}: errno {Marshal.GetLastPInvokeError()}"

/// Bytes sent or received. -1: it would have to wait. -2: the connection is broken.
let private outcome (result: nativeint) : int =
    if result >= 0n then int result
    elif Marshal.GetLastPInvokeError() = again then -1
    else -2

let trySend (socket: int) (address: nativeint) (length: int) : int =
    outcome (send (socket, address, nativeint length, dontWait ||| noSignal))

let tryReceive (socket: int) (address: nativeint) (length: int) : int =
    outcome (recv (socket, address, nativeint length, dontWait))

/// Timers of this thread end when they are due, not up to 50 µs later.
let useExactTimers () =
    // PR_SET_TIMERSLACK
    prctl (29, 1un, 0un, 0un, 0un) |> ignore

/// CPU time of this thread in nanoseconds.
let threadTime () : int64 =
    let time = [| 0L; 0L |]
    // CLOCK_THREAD_CPUTIME_ID
    clock_gettime (3, time) |> ignore
    time[0] * 1_000_000_000L + time[1]

/// Waits for sockets, each of them known by a number. Linux 5.11 and later.
[<Sealed>]
type Epoll() =
    // struct epoll_event is packed on x86-64 alone.
    let stride, data =
        if RuntimeInformation.ProcessArchitecture = Architecture.X64 then
            3, 1
        else
            4, 2

    let epoll = epoll_create1 0
    let events = Array.zeroCreate<int>(256 * stride)
    let timeout = [| 0L; 0L |]

    /// EPOLLIN, EPOLLOUT, EPOLLRDHUP, and each change once (EPOLLET): nothing is to be set again for a socket afterwards.
    member _.Add(socket: int, number: int) =
        let interest = Array.zeroCreate<int> stride
        interest[0] <- 0x1 ||| 0x4 ||| 0x2000 ||| (1 <<< 31)
        interest[data] <- number

        if epoll_ctl (epoll, 1, socket, interest) <> 0 then
            failed "epoll_ctl"

    /// Waits for at most so many nanoseconds; how many sockets something has happened to.
    member _.Wait(nanoseconds: int64) : int =
        timeout[0] <- nanoseconds / 1_000_000_000L
        timeout[1] <- nanoseconds % 1_000_000_000L

        match epoll_pwait2 (epoll, events, 256, timeout, 0n) with
        | -1 when Marshal.GetLastPInvokeError() = interrupted -> 0
        | -1 -> failed "epoll_pwait2"
        | count -> count

    member _.Number(index: int) = events[index * stride + data]
    member _.IsWritable(index: int) = events[index * stride] &&& 0x4 <> 0
    /// Or has ended, which a read tells.
    member _.IsReadable(index: int) = events[index * stride] &&& ~~~0x4 <> 0

    interface IDisposable with
        member _.Dispose() = close epoll |> ignore
