namespace K8sReq.Proxy

#nowarn "9"

open System
open System.Net.Sockets
open System.Runtime.InteropServices
open System.Threading
open Microsoft.FSharp.NativeInterop

module private EpollNative =
    [<DllImport("libc")>]
    extern int epoll_create1(int flags)

    [<DllImport("libc")>]
    extern int epoll_ctl(int epoll, int operation, int descriptor, nativeint event)

    [<DllImport("libc")>]
    extern int epoll_wait(int epoll, nativeint events, int most, int timeout)

    [<DllImport("libc")>]
    extern int eventfd(uint32 initial, int flags)

    [<DllImport("libc")>]
    extern nativeint read(int descriptor, nativeint buffer, unativeint count)

    [<DllImport("libc")>]
    extern nativeint write(int descriptor, nativeint buffer, unativeint count)

    [<DllImport("libc")>]
    extern int close(int descriptor)

/// What can have happened to a descriptor.
module Events =
    let readable = 0x001
    let writable = 0x004
    let failed = 0x008
    let hungUp = 0x010
    /// The other side sends no more.
    let inputEnded = 0x2000
    /// Told once of each change, not for as long as it is so.
    let edgeTriggered = 0x80000000

/// What tells of changes to descriptors, each with a number of its own. Not for more than one thread.
[<Sealed>]
type Epoll() =
    static let most = 256

    // struct epoll_event: packed on x64 alone.
    static let isPacked = RuntimeInformation.ProcessArchitecture = Architecture.X64

    static let size = if isPacked then 12 else 16
    static let dataAt = if isPacked then 4 else 8
    static let closeOnExec = 0x80000
    static let add = 1
    static let remove = 2
    static let modify = 3

    let descriptor = EpollNative.epoll_create1 closeOnExec

    do
        if descriptor < 0 then
            raise (SocketException(int (Libc.lastError ())))

    // For as long as this is there: the system writes into it.
    let events = NativeMemory.AllocZeroed(unativeint (most * size))
    let start: nativeptr<byte> = NativePtr.ofVoidPtr events

    let control (operation: int) (watched: int) (wanted: int) (number: int64) =
        let event = NativePtr.stackalloc<byte> 16
        NativePtr.write (NativePtr.ofNativeInt<int>(NativePtr.toNativeInt event)) wanted
        Marshal.WriteInt64(NativePtr.toNativeInt event, dataAt, number)

        if EpollNative.epoll_ctl (descriptor, operation, watched, NativePtr.toNativeInt event) < 0 then
            raise (SocketException(int (Libc.lastError ())))

    /// How many events come at once, at the most.
    static member Most: int = most

    /// By which another one can watch whether anything has happened here.
    member _.Descriptor = descriptor

    /// Tells of these events on the descriptor from now on, until it is closed.
    member _.Add(watched: int, wanted: int, number: int64) : unit = control add watched wanted number

    /// Tells of these instead.
    member _.Modify(watched: int, wanted: int, number: int64) : unit = control modify watched wanted number

    /// Tells of none any more.
    member _.Remove(watched: int) : unit = control remove watched 0 0L

    /// Waits for events: so many came. -1 for no limit of time (ms).
    member _.Wait(timeout: int) : int =
        // An interrupted wait has brought nothing.
        max 0 (EpollNative.epoll_wait (descriptor, NativePtr.toNativeInt start, most, timeout))

    /// Of the event at this place.
    member _.Happened(index: int) : int =
        NativePtr.read (NativePtr.ofNativeInt<int>(NativePtr.toNativeInt start + nativeint (index * size)))

    member _.Number(index: int) : int64 =
        Marshal.ReadInt64(NativePtr.toNativeInt start, index * size + dataAt)

    interface IDisposable with
        member _.Dispose() =
            EpollNative.close descriptor |> ignore
            NativeMemory.Free events

/// Wakes a thread that waits by an `Epoll`.
[<Sealed>]
type WakeUp() =
    static let nonBlocking = 0x800
    static let closeOnExec = 0x80000
    let descriptor = EpollNative.eventfd (0u, nonBlocking ||| closeOnExec)

    do
        if descriptor < 0 then
            raise (SocketException(int (Libc.lastError ())))

    // Nobody writes to a descriptor that is somebody else's by now.
    let gate = Lock()
    let mutable isClosed = false

    member _.Descriptor = descriptor

    /// From any thread.
    member _.Signal() : unit =
        let one = NativePtr.stackalloc<int64> 1
        NativePtr.write one 1L
        gate.Enter()

        if not isClosed then
            EpollNative.write (descriptor, NativePtr.toNativeInt one, 8un) |> ignore

        gate.Exit()

    /// It has been heard.
    member _.Reset() : unit =
        let count = NativePtr.stackalloc<int64> 1
        EpollNative.read (descriptor, NativePtr.toNativeInt count, 8un) |> ignore

    interface IDisposable with
        member _.Dispose() =
            gate.Enter()

            if not isClosed then
                isClosed <- true
                EpollNative.close descriptor |> ignore

            gate.Exit()
