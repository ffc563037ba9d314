/// Durable delivery in the chart and in the kustomize component: a StatefulSet whose replicas have a volume each.
module K8sReq.Chart.Tests.PersistenceTests

open System.IO
open System.Text.Json
open Expecto
open K8sReq.Core
open K8sReq.Chart.Tests.Tools
open K8sReq.Chart.Tests.Manifest
open K8sReq.Chart.Tests.ChartTests

let private enabled = [ "--set"; "persistence.enabled=true" ]

let private claimOf objects =
    match items [ "spec"; "volumeClaimTemplates" ] (theOnly objects "StatefulSet") with
    | [ claim ] -> claim
    | several -> failtest $"{several.Length} claims"

let private texts path element = items path element |> List.map string

/// Every scalar of an object, by its path; items of a list that have names go by these.
let rec private leaves (path: string) (element: JsonElement) : (string * string) list =
    match element.ValueKind with
    | JsonValueKind.Object -> [
        for field in element.EnumerateObject() do
            yield! leaves $"{path}/{field.Name}" field.Value
      ]
    | JsonValueKind.Array -> [
        for index, item in Seq.indexed (element.EnumerateArray()) do
            let name = tryText [ "name" ] item |> Option.defaultValue (string index)
            yield! leaves $"{path}/{name}" item
      ]
    | _ -> [ path, string element ]

// It names the Deployment or the StatefulSet.
let private attributes =
    "/containers/k8sreq-duplicator-controller/env/OTEL_RESOURCE_ATTRIBUTES/value"

/// What one has and the other has not, but for the name of what made the pod.
let private added before after =
    Set.difference (Set.ofList (leaves "" after)) (Set.ofList (leaves "" before))
    |> Set.filter (fun (path, _) -> path <> attributes)

/// What helm prints after an installation.
let private notes helm arguments =
    let said =
        succeed
            helm
            ([ "install"; "rel"; chart; "--namespace"; "sys"; "--dry-run=client" ]
             @ withImage
             @ arguments)

    said.Substring(said.IndexOf "NOTES:")

let private kustomize kubectl folder =
    succeed kubectl [ "kustomize"; Path.Combine(root, "deploy", "kustomize", folder) ]
    |> parse

let private mounted =
    Set.ofList [
        "/containers/k8sreq-duplicator-controller/env/JOURNAL/name", "JOURNAL"
        "/containers/k8sreq-duplicator-controller/env/JOURNAL/value", "/var/lib/k8sreq"
        "/containers/k8sreq-duplicator-controller/volumeMounts/journal/name", "journal"
        "/containers/k8sreq-duplicator-controller/volumeMounts/journal/mountPath", "/var/lib/k8sreq"
        "/securityContext/fsGroup", "10000"
        "/securityContext/fsGroupChangePolicy", "OnRootMismatch"
    ]

let tests =
    testList "persistence" [
        withHelm "is off by default, and then its values change nothing" (fun helm ->
            let rendered arguments =
                succeed helm ([ "template"; "rel"; chart ] @ withImage @ arguments)

            Expect.equal
                (rendered [
                    "--set"
                    "persistence.size=9Gi,persistence.mountPath=/x,persistence.storageClass=fast"
                ])
                (rendered [])
                "the same text"

            let objects = render helm []
            Expect.hasLength (kind objects "Deployment") 1 "a Deployment"
            Expect.isEmpty (kind objects "StatefulSet") "and no StatefulSet"
            Expect.isNone (settings objects).Journal "no journal")

        withHelm "makes the pods of the Deployment, with a volume and JOURNAL" (fun helm ->
            let before, after = render helm [], render helm enabled
            expectSound after
            Expect.isEmpty (kind after "Deployment") "no Deployment beside it"
            Expect.equal (added (podOf before) (podOf after)) mounted "what is new"
            Expect.isEmpty (added (podOf after) (podOf before)) "what is gone"

            let journal = (settings after).Journal.Value
            let mount = (items [ "volumeMounts" ] (containerOf after)).Head

            Expect.equal
                (JournalPlace.describe journal.KeptIn, text [ "name" ] mount)
                (text [ "mountPath" ] mount, text [ "metadata"; "name" ] (claimOf after))
                "the journal is on the claim"

            Expect.equal
                (settings after).Durability
                Durability.Journal
                "copies are kept unless they say otherwise"

            let others = List.filter (fun object -> text [ "kind" ] object <> "Deployment")

            for object in others before do
                Expect.exists
                    after
                    (fun other -> other.GetRawText() = object.GetRawText())
                    "all else is the same")

        withHelm "the StatefulSet and its claims are as the values say" (fun helm ->
            let set = theOnly (render helm enabled) "StatefulSet"

            Expect.equal
                (List.map (fun path -> text path set) [
                    [ "spec"; "replicas" ]
                    [ "spec"; "podManagementPolicy" ]
                    [ "spec"; "updateStrategy"; "type" ]
                    [ "spec"; "persistentVolumeClaimRetentionPolicy"; "whenDeleted" ]
                    [ "spec"; "persistentVolumeClaimRetentionPolicy"; "whenScaled" ]
                ])
                [ "2"; "Parallel"; "RollingUpdate"; "Retain"; "Retain" ]
                "by default"

            let claim = claimOf (render helm enabled)
            Expect.equal (texts [ "spec"; "accessModes" ] claim) [ "ReadWriteOnce" ] "access"
            Expect.equal (text [ "spec"; "resources"; "requests"; "storage" ] claim) "2Gi" "size"
            Expect.isNone (tryAt [ "spec"; "storageClassName" ] claim) "the cluster's default class"

            let objects = renderFile helm "persistence" []
            let claim = claimOf objects

            let policy =
                at [ "spec"; "persistentVolumeClaimRetentionPolicy" ] (theOnly objects "StatefulSet")

            Expect.equal
                (text [ "whenDeleted" ] policy, text [ "whenScaled" ] policy)
                ("Delete", "Retain")
                "what becomes of the claims"

            Expect.equal (texts [ "spec"; "accessModes" ] claim) [ "ReadWriteOncePod" ] "access"
            Expect.equal (text [ "spec"; "resources"; "requests"; "storage" ] claim) "10Gi" "size"
            Expect.equal (text [ "spec"; "storageClassName" ] claim) "fast" "class"

            Expect.equal
                (fields [ "metadata"; "annotations" ] claim)
                (Map.ofList [ "backup.example/policy", "none" ])
                "annotations"

            Expect.equal
                (text [ "securityContext"; "fsGroup" ] (podOf objects))
                "20000"
                "a group that is given stands"

            let journal = (settings objects).Journal.Value

            Expect.equal
                (journal.KeptIn, journal.Limit)
                (JournalPlace.Folder "/data", 4294967296L)
                "the journal"

            Expect.equal
                (items [ "volumeMounts" ] (containerOf objects)
                 |> List.map (text [ "mountPath" ]))
                [ "/data"; "/secrets" ]
                "beside secrets"

            let none =
                claimOf (render helm (enabled @ [ "--set"; "persistence.storageClass=-" ]))

            Expect.equal (text [ "spec"; "storageClassName" ] none) "" "no class")

        withHelm "the volume's group is that of the program" (fun helm ->
            let objects =
                render helm (enabled @ [ "--set"; "podSecurityContext.runAsGroup=30000" ])

            Expect.equal (text [ "securityContext"; "fsGroup" ] (podOf objects)) "30000" "fsGroup")

        // A claim template cannot be changed: an upgrade that tries is refused by the API server.
        withHelm "the claims have nothing that a new version of the chart changes" (fun helm ->
            let objects =
                render helm (enabled @ [ "--set"; "annotations.a=b,podLabels.c=d,podAnnotations.e=f" ])

            Expect.equal
                (fields [ "metadata"; "labels" ] (claimOf objects))
                (fields [ "spec"; "selector"; "matchLabels" ] (theOnly objects "StatefulSet"))
                "labels"

            Expect.isNone
                (tryAt [ "metadata"; "annotations" ] (claimOf objects))
                "no annotations of the chart")

        withHelm "the Service that it names is there, headless, and no second way to the metrics" (fun helm ->
            let objects = render helm enabled
            let set = theOnly objects "StatefulSet"

            let service =
                kind objects "Service"
                |> List.find (fun service ->
                    text [ "metadata"; "name" ] service = text [ "spec"; "serviceName" ] set)

            Expect.equal (text [ "spec"; "clusterIP" ] service) "None" "headless"
            Expect.equal (items [ "spec"; "ports" ] service |> List.map (text [ "name" ])) [ "http" ] "ports")

        // The pods' label controller-revision-hash is the name, a hyphen and up to ten characters.
        withHelm "its name leaves room for a revision in a label" (fun helm ->
            let longest = String.replicate 63 "a"
            let objects = render helm (enabled @ [ "--set"; $"fullnameOverride={longest}" ])

            let name = text [ "metadata"; "name" ] (theOnly objects "StatefulSet")
            Expect.isLessThanOrEqual name.Length (63 - 11) "short enough"

            for service in kind objects "Service" do
                Expect.isLessThanOrEqual (text [ "metadata"; "name" ] service).Length 63 "the Services' too")

        for name, arguments in
            [
                "a variable", [ "env.JOURNAL=/x" ]
                "a secret", [ "extraEnvSecrets.JOURNAL.secret=a,extraEnvSecrets.JOURNAL.key=b" ]
                "an argument", [ "extraArgs={--journal=/x}" ]
                "two arguments", [ "extraArgs={--journal,/x}" ]
            ] do
            refuses
                $"JOURNAL as {name}, beside persistence,"
                (enabled @ List.collect (fun value -> [ "--set"; value ]) arguments)
                "persistence.enabled sets JOURNAL to persistence.mountPath"

        refuses
            "an autoscaler that would delete accepted copies"
            (enabled
             @ [
                 "--set"
                 "horizontalPodAutoscaler.enabled=true,persistence.persistentVolumeClaimRetentionPolicy.whenScaled=Delete"
             ])
            "would delete accepted copies"

        for size, limit in [ "1Gi", "1073741824"; "2Gi", "2000000000"; "1300M", "1073741824" ] do
            refuses
                $"a volume of {size} for {limit} bytes"
                (enabled
                 @ [
                     "--set"
                     $"persistence.size={size}"
                     "--set-string"
                     $"env.JOURNAL_BYTES={limit}"
                 ])
                "is too small for JOURNAL_BYTES"

        withHelm "a volume that is large enough is taken" (fun helm ->
            for size in [ "1.5Gi"; "1350M"; "1Ti" ] do
                let claim =
                    claimOf (render helm (enabled @ [ "--set"; $"persistence.size={size}" ]))

                Expect.equal
                    (text [ "spec"; "resources"; "requests"; "storage" ] claim)
                    size
                    "as it was given")

        refuses
            "a secret in the place of the journal"
            (enabled
             @ [
                 "--set"
                 "secretMounts[0].name=s,secretMounts[0].secretName=s,secretMounts[0].path=/var/lib/k8sreq"
             ])
            "secretMounts"

        for name, value, said in
            [
                "a value of persistence that does not exist", "persistence.sise=1Gi", "sise"
                "a size that is none", "persistence.size=big", "/persistence/size"
                "the root as mount path", "persistence.mountPath=/", "/persistence/mountPath"
                "an access mode without writing", "persistence.accessModes={ReadOnlyMany}", "accessModes"
                "another end of the claims",
                "persistence.persistentVolumeClaimRetentionPolicy.whenScaled=Keep",
                "whenScaled"
            ] do
            refuses name (enabled @ [ "--set"; value ]) said

        withHelm "the notes say whether it is on, and what becomes of copies that wait" (fun helm ->
            let off = notes helm []
            Expect.stringContains off "Durable delivery is off" "off"
            let on = notes helm enabled

            for said in
                [
                    "Durable delivery is on"
                    "a volume of 2Gi"
                    "journal-rel-k8sreq-duplicator-controller-0"
                    "Scale up again, and they are sent"
                    "helm uninstall leaves the claims"
                ] do
                Expect.stringContains on said "on"

            Expect.isFalse (on.Contains "There is only one") "two replicas"

            let alone =
                notes
                    helm
                    (enabled
                     @ [
                         "--set"
                         "replicas=1,persistence.persistentVolumeClaimRetentionPolicy.whenScaled=Delete,persistence.persistentVolumeClaimRetentionPolicy.whenDeleted=Delete"
                     ])

            for said in
                [
                    "Its claim is then deleted"
                    "helm uninstall deletes the claims"
                    "There is only one"
                ] do
                Expect.stringContains alone said "one, and nothing kept")

        withKubectl "kustomize: the component changes what the chart changes" (fun kubectl ->
            let before, after = kustomize kubectl "default", kustomize kubectl "durable"
            expectSound after
            Expect.isEmpty (kind after "Deployment") "no Deployment beside it"
            Expect.equal (added (podOf before) (podOf after)) mounted "what is new in the pods"
            Expect.isEmpty (added (podOf after) (podOf before)) "what is gone from them"

            for object in after do
                if
                    text [ "kind" ] object <> "Namespace"
                    && not ((text [ "kind" ] object).StartsWith "Cluster")
                then
                    Expect.equal (text [ "metadata"; "namespace" ] object) "k8sreq-system" "where it is"

            let service = text [ "spec"; "serviceName" ] (theOnly after "StatefulSet")

            Expect.equal
                (kind after "Service"
                 |> List.filter (fun object -> text [ "metadata"; "name" ] object = service)
                 |> List.map (text [ "spec"; "clusterIP" ]))
                [ "None" ]
                "the Service that it names")

        withHelm "kustomize: the StatefulSet is the chart's" (fun helm ->
            let ofChart = theOnly (render helm enabled) "StatefulSet"

            let ofComponent =
                theOnly (kustomize (K8sReq.TestKit.InstalledTool.path "kubectl") "durable") "StatefulSet"

            Expect.equal
                (resourceAttributes [ ofComponent ]
                 |> List.map (fun (name, value) -> name, "rel-" + value)
                 |> List.filter (fun (name, _) -> name = "k8s.statefulset.name"))
                (resourceAttributes [ ofChart ]
                 |> List.filter (fun (name, _) -> name = "k8s.statefulset.name"))
                "what telemetry says of it"

            for part in
                [
                    "replicas"
                    "serviceName"
                    "podManagementPolicy"
                    "updateStrategy"
                    "persistentVolumeClaimRetentionPolicy"
                ] do
                Expect.equal
                    (withoutOrigin (at [ "spec"; part ] ofComponent))
                    (withoutOrigin (at [ "spec"; part ] ofChart))
                    part

            let claim object =
                (items [ "spec"; "volumeClaimTemplates" ] object).Head

            Expect.equal
                (Set.ofList (leaves "" (at [ "spec" ] (claim ofComponent))))
                (Set.ofList (leaves "" (at [ "spec" ] (claim ofChart))))
                "the claims")

        withHelm "in PostgreSQL: the address comes from a Secret, and nothing else changes" (fun helm ->
            let arguments = [ "--set"; "journal.postgres.existingSecret=db-app" ]
            let before, after = render helm [], render helm arguments
            Expect.isEmpty (kind after "StatefulSet") "no volumes"

            Expect.equal
                (added (podOf before) (podOf after))
                (Set.ofList [
                    "/containers/k8sreq-duplicator-controller/env/JOURNAL/name", "JOURNAL"
                    "/containers/k8sreq-duplicator-controller/env/JOURNAL/valueFrom/secretKeyRef/name",
                    "db-app"
                    "/containers/k8sreq-duplicator-controller/env/JOURNAL/valueFrom/secretKeyRef/key", "uri"
                ])
                "what is new"

            Expect.isEmpty (added (podOf after) (podOf before)) "what is gone"

            let key =
                render helm (arguments @ [ "--set"; "journal.postgres.uriKey=url" ])
                |> podOf
                |> leaves ""
                |> List.find (fst >> _.EndsWith("secretKeyRef/key"))
                |> snd

            Expect.equal key "url" "another key")

        for name, arguments, said in
            [
                "beside volumes", [ "--set"; "persistence.enabled=true" ], "two journals"
                "beside a variable", [ "--set"; "env.JOURNAL=/data" ], "remove JOURNAL"
                "beside a flag", [ "--set"; "extraArgs={--journal=/data}" ], "remove --journal"
            ] do
            refuses
                $"a journal in PostgreSQL {name}"
                ([ "--set"; "journal.postgres.existingSecret=db-app" ] @ arguments)
                said
    ]
