/// Whose turn it is.
module K8sReq.Bench.Rounds

/// The peers in the order of this round (from 1): every second one goes backwards, so that nobody is always the first, or
/// always after the same one.
let order (round: int) (peers: 'peer list) : 'peer list =
    if round % 2 = 1 then peers else List.rev peers
