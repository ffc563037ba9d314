namespace K8sReq.Core

open System
open System.Numerics

// A trie by the bits of a host's hash, five at a time. A branch has a child for each bit of its bitmap, in their order.
[<AbstractClass>]
type private HostNode() = class end

// A host, and after it those with the same hash.
[<Sealed>]
type private HostLeaf<'T>(hash: int, host: HostName, value: 'T, next: HostLeaf<'T> | null) =
    inherit HostNode()
    member _.Hash = hash
    member _.Host = host
    member _.Value = value
    member _.Next = next

[<Sealed>]
type private HostBranch(bitmap: uint32, children: HostNode[]) =
    inherit HostNode()
    member _.Bitmap = bitmap
    member _.Children = children

module private HostNode =
    let bitsPerLevel = 5

    // Hosts differ in case only where they are one; the hash is the runtime's, which nobody can foresee.
    let hashOf (host: ReadOnlySpan<char>) : int =
        String.GetHashCode(host, StringComparison.OrdinalIgnoreCase)

    let bitOf (hash: int) (shift: int) : uint32 = 1u <<< ((hash >>> shift) &&& 31)

    let indexOf (bitmap: uint32) (bit: uint32) : int =
        BitOperations.PopCount(bitmap &&& (bit - 1u))

    let rec private replaceIn (leaf: HostLeaf<'T> | null) host hash value : HostLeaf<'T> =
        match leaf with
        | null -> HostLeaf(hash, host, value, null)
        | leaf when leaf.Host = host -> HostLeaf(hash, host, value, leaf.Next)
        | leaf -> HostLeaf(hash, leaf.Host, leaf.Value, replaceIn leaf.Next host hash value)

    let rec private removeFrom (leaf: HostLeaf<'T> | null) host : HostLeaf<'T> | null =
        match leaf with
        | null -> null
        | leaf when leaf.Host = host -> leaf.Next
        | leaf -> HostLeaf(leaf.Hash, leaf.Host, leaf.Value, removeFrom leaf.Next host)

    let private withChild (branch: HostBranch) bit child =
        let index = indexOf branch.Bitmap bit

        if branch.Bitmap &&& bit <> 0u then
            let children = Array.copy branch.Children
            children[index] <- child
            HostBranch(branch.Bitmap, children)
        else
            HostBranch(branch.Bitmap ||| bit, Array.insertAt index child branch.Children)

    let rec set<'T> (node: HostNode | null) (shift: int) host hash (value: 'T) : HostNode =
        match node with
        | null -> HostLeaf<'T>(hash, host, value, null)
        | :? HostBranch as branch ->
            let bit = bitOf hash shift

            let child: HostNode | null =
                if branch.Bitmap &&& bit <> 0u then
                    branch.Children[indexOf branch.Bitmap bit]
                else
                    null

            withChild branch bit (set<'T> child (shift + bitsPerLevel) host hash value)
        | node ->
            let leaf = node :?> HostLeaf<'T>

            if leaf.Hash = hash then
                replaceIn leaf host hash value :> HostNode
            else
                // What is there goes one level down, and the new one beside it or further.
                let below = HostBranch(bitOf leaf.Hash shift, [| leaf |])
                set<'T> below shift host hash value

    let rec remove<'T> (node: HostNode | null) (shift: int) host hash : HostNode | null =
        match node with
        | null -> null
        | :? HostBranch as branch ->
            let bit = bitOf hash shift

            if branch.Bitmap &&& bit = 0u then
                branch
            else
                let index = indexOf branch.Bitmap bit

                match remove<'T> branch.Children[index] (shift + bitsPerLevel) host hash with
                | null when branch.Children.Length = 1 -> null
                | null -> HostBranch(branch.Bitmap &&& ~~~bit, Array.removeAt index branch.Children)
                | child -> withChild branch bit child
        | node ->
            let leaf = node :?> HostLeaf<'T>

            if leaf.Hash <> hash then
                leaf
            else
                match removeFrom leaf host with
                | null -> null
                | left -> left

    let rec private chain (leaf: HostLeaf<'T> | null) : seq<struct (HostName * 'T)> = seq {
        match leaf with
        | null -> ()
        | leaf ->
            yield struct (leaf.Host, leaf.Value)
            yield! chain leaf.Next
    }

    let rec all<'T> (node: HostNode | null) : seq<struct (HostName * 'T)> = seq {
        match node with
        | null -> ()
        | :? HostBranch as branch ->
            for child in branch.Children do
                yield! all<'T> child
        | :? HostLeaf<'T> as leaf -> yield! chain leaf
        | _ -> ()
    }

/// What belongs to each host, found by any spelling of it. Immutable: a change makes a map that shares with the one before
/// what has not changed, and costs the same with one host and with ten thousand. A lookup allocates nothing.
[<Sealed; AllowNullLiteral(false)>]
type HostMap<'T> private (root: HostNode | null, count: int) =
    static let empty = HostMap<'T>(null, 0)

    static member Empty = empty

    member _.Count = count

    /// The map with this value for the host, in the place of the one that it may have had.
    member map.Set(host: HostName, value: 'T) : HostMap<'T> =
        let hash = HostNode.hashOf (host.Value.AsSpan())
        let added = if map.TryGet(host).IsSome then 0 else 1
        HostMap<'T>(HostNode.set<'T> root 0 host hash value, count + added)

    member map.Remove(host: HostName) : HostMap<'T> =
        if map.TryGet(host).IsSome then
            let hash = HostNode.hashOf (host.Value.AsSpan())
            HostMap<'T>(HostNode.remove<'T> root 0 host hash, count - 1)
        else
            map

    // By the significant part of a spelling.
    member private _.Lookup(name: ReadOnlySpan<char>) : 'T voption =
        let hash = HostNode.hashOf name
        let mutable node = root
        let mutable shift = 0
        let mutable found = ValueNone
        let mutable isOver = false

        while not isOver do
            match node with
            | :? HostBranch as branch ->
                let bit = HostNode.bitOf hash shift

                if branch.Bitmap &&& bit = 0u then
                    isOver <- true
                else
                    node <- branch.Children[HostNode.indexOf branch.Bitmap bit]
                    shift <- shift + HostNode.bitsPerLevel
            | :? HostLeaf<'T> as leaf ->
                if
                    leaf.Hash = hash
                    && name.Equals(leaf.Host.Value.AsSpan(), StringComparison.OrdinalIgnoreCase)
                then
                    found <- ValueSome leaf.Value
                    isOver <- true
                else
                    node <- leaf.Next
            | _ -> isOver <- true

        found

    member map.TryGet(host: HostName) : 'T voption = map.Lookup(host.Value.AsSpan())

    /// What belongs to this host, however it is spelled (capitals, port, trailing dot); none for a text that is no host.
    member map.TryFind(host: string) : 'T voption =
        // An IPv6 address has more spellings than its letters' case; it is rare enough to be parsed.
        let key =
            if host.StartsWith '[' then
                match HostName.parse host with
                | Ok address -> address.Value
                | Error _ -> host
            else
                host

        // `HostName.parse` takes no other port, and there is one answer to whether a text is a host.
        if HostName.hasPort (key.AsSpan()) then
            map.Lookup(HostName.significant (key.AsSpan()))
        else
            ValueNone

    /// In no order.
    member _.Unordered: seq<struct (HostName * 'T)> = HostNode.all<'T> root

    /// Ordered by host.
    member map.Ordered: (HostName * 'T) list =
        map.Unordered
        |> Seq.map (fun struct (host, value) -> host, value)
        |> Seq.sortBy fst
        |> List.ofSeq

module HostMap =
    let ofSeq (entries: seq<HostName * 'T>) : HostMap<'T> =
        (HostMap<'T>.Empty, entries)
        ||> Seq.fold (fun map (host, value) -> map.Set(host, value))
