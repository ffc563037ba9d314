namespace K8sReq.Bench

/// What one turn of one peer gave. Times of CPU and counts are for each request that was answered 202.
type Slice = {
    /// Microseconds.
    Cpu: float
    /// The part of it in user mode, from 0 to 1.
    UserShare: float
    Switches: float
    /// Connections that the peer opened to its targets.
    Connects: float
    /// Milliseconds, from when a request was due. nan at saturation.
    P50: float
    P99: float
    /// Requests answered 202 a second.
    Rate: float
    /// Copies that healthy targets did not get, of requests that were answered 202.
    Lost: int64
    NotAccepted: int64
    /// Resident memory in bytes before and after.
    MemoryBefore: int64
    Memory: int64
    /// Microseconds by which the load generator was late. nan at saturation.
    LateP50: float
    LateP99: float
    /// Requests that were due while every connection was busy.
    Waited: int64
    /// CPU time of the load generator, in microseconds.
    GeneratorCpu: float
    /// Cores that the peers used whose turn it was not, and that everything else on the machine used.
    IdlePeers: float
    Foreign: float
}
