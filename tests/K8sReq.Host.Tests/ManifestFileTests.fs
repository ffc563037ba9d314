module K8sReq.Host.Tests.ManifestFileTests

open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests
open K8sReq.TestKit

let private parse text =
    match ManifestFile.parse RouteKinds.kinds "m.yaml" text with
    | Ok(manifests, problems) -> manifests, problems |> List.map ManifestProblem.describe
    | Error problem -> failtest (ManifestProblem.describe problem)

let private (|Clone|Service|) (manifest: Manifest) =
    match manifest.Object with
    | :? RequestClone as clone -> Clone(manifest.Place, clone)
    | :? BackendService as service -> Service(manifest.Place, service)
    | other -> failtest $"{other}"

let private keys manifests =
    manifests
    |> List.map (fun manifest ->
        match manifest with
        | Clone(place, clone) -> $"clone {clone.Key} {place.Line} {Result.isOk clone.Spec}"
        | Service(place, service) -> $"service {service.Key} {place.Line}")

let private serviceOf text =
    match parse text with
    | [ Service(_, service) ], [] -> service
    | other -> failtest $"{other}"

let private service spec =
    serviceOf $"apiVersion: v1\nkind: Service\nmetadata: {{name: app}}\nspec: {spec}\n"

let private problem text expected =
    match parse text with
    | _, [ problem ] -> Expect.equal problem expected "said"
    | _, problems -> failtest $"{problems}"

let tests =
    testList "ManifestFile" [
        test "half of a surrogate pair in a name is the file's fault, and no more than that" {
            let text =
                "{}\n{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"\\ud800\"},\"spec\":{}}"

            match ManifestFile.parse RouteKinds.kinds "a.json" text with
            | Error(ManifestProblem.Unparsable(place, _)) -> Expect.equal (string place) "a.json:2" "where"
            | other -> failtest $"{other}"
        }

        test "objects of both kinds, others are passed over" {
            let manifests, problems =
                parse (
                    Manifests.service "app" 80
                    + "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n---\n"
                    + "apiVersion: other.example/v1\nkind: RequestClone\nmetadata: {name: x}\n---\n"
                    + "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: x}\n---\n"
                    + Manifests.clone "copy" "a.example" "app"
                )

            Expect.equal (keys manifests) [ "service shop/app 1"; "clone shop/copy 18 True" ] "two"
            Expect.isEmpty problems "nothing wrong"
        }

        test "lists of any kind" {
            let manifests, problems =
                parse
                    """
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Service
    metadata: {name: a}
    spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}
  - apiVersion: v1
    kind: List
    items:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
---
apiVersion: proxy.infra.doodle.com/v1beta1
kind: RequestCloneList
items:
  - metadata: {name: b}
    spec: {host: b.example, backend: {serviceName: a, servicePort: "80"}}
"""

            Expect.equal (keys manifests) [ "service default/a 2"; "clone default/b 14 True" ] "both"
            Expect.isEmpty problems "nothing wrong"
        }

        test "a Service's address and ports" {
            let read =
                service "{clusterIP: 10.0.0.1, ports: [{name: http, port: 80}, {port: 53, protocol: UDP}]}"

            Expect.equal read.Key (ObjectKey.create "default" "app") "in the default namespace"

            Expect.equal
                read.Address
                (ServiceAddress.ClusterIP(System.Net.IPAddress.Parse "10.0.0.1"))
                "its address"

            Expect.equal
                read.Ports
                [
                    {
                        Name = Some "http"
                        Number = 80
                        Protocol = "TCP"
                        AppProtocol = None
                    }
                    {
                        Name = None
                        Number = 53
                        Protocol = "UDP"
                        AppProtocol = None
                    }
                ]
                "its ports"
        }

        test "Services without an address of their own" {
            Expect.equal (service "{clusterIP: None}").Address ServiceAddress.Headless "headless"
            Expect.equal (service "{ports: [{port: 80}]}").Address ServiceAddress.Unassigned "none yet"
            Expect.equal (service "{clusterIP: ''}").Address ServiceAddress.Unassigned "empty"

            Expect.equal
                (service "{type: ExternalName, externalName: x.example}").Address
                (ServiceAddress.ExternalName "x.example")
                "an alias"
        }

        test "a RequestClone that is not valid is reported by name with every fault, and kept as invalid" {
            let manifests, problems =
                parse
                    "apiVersion: proxy.infra.doodle.com/v1beta1\nkind: RequestClone\nmetadata: {name: bad, namespace: shop}\nspec: {host: '*.example', backend: {servicePort: 8.5}}\n"

            Expect.equal (keys manifests) [ "clone shop/bad 1 False" ] "kept"

            Expect.equal
                problems
                [
                    "m.yaml:1: RequestClone shop/bad is not valid: "
                    + "spec.host is \"*.example\", but must be one host name; wildcards are not matched; "
                    + "spec.backend.serviceName is missing; "
                    + "spec.backend.servicePort must be a string or a whole number, not the number 8.5"
                ]
                "all at once"
        }

        test "fields of the wrong type or missing, wherever they stand" {
            let clone spec =
                $"apiVersion: proxy.infra.doodle.com/v1beta1\nkind: RequestClone\nmetadata: {{name: bad}}\n{spec}\n"

            let says spec faults =
                problem (clone spec) $"m.yaml:1: RequestClone default/bad is not valid: {faults}"

            says "" "spec is missing"
            says "spec: text" "spec must be an object, not a string"
            says "spec: {backend: 3}" "spec.host is missing; spec.backend must be an object, not the number 3"
            says "spec: {host: a.example}" "spec.backend is missing"
            says "spec: {host: null, backend: {serviceName: a, servicePort: b}}" "spec.host is missing"

            says
                "spec: {host: [a], backend: {serviceName: a, servicePort: b}}"
                "spec.host must be a string, not a list"

            says
                "spec: {host: yes, backend: {serviceName: a, servicePort: b}}"
                "spec.host must be a string, not true"
        }

        test "how copies are delivered is optional, and reported where it is wrong" {
            let clone more =
                $"apiVersion: proxy.infra.doodle.com/v1beta1\nkind: RequestClone\nmetadata: {{name: a}}\nspec: {{host: a.example, backend: {{serviceName: a, servicePort: b}}{more}}}\n"

            let policyOf more =
                match parse (clone more) with
                | [ Clone(_, { Spec = Ok spec }) ], [] -> spec.Delivery
                | other -> failtest $"{other}"

            Expect.equal (policyOf "") DeliveryPolicy.byDefault "none given"

            Expect.equal
                (policyOf ", timeouts: {}, delivery: {retry: null}")
                DeliveryPolicy.byDefault
                "nor here"

            Expect.equal
                (policyOf
                    ", timeouts: {backendRequest: 5s}, delivery: {retry: 2, backoffPolicy: linear, backoffDelay: 1s, backoffMax: 1m}")
                {
                    AttemptTimeout = Some(System.TimeSpan.FromSeconds 5.0)
                    Retry = {
                        Retries = 2
                        Backoff = BackoffPolicy.Linear
                        Delay = System.TimeSpan.FromSeconds 1.0
                        Longest = System.TimeSpan.FromMinutes 1.0
                        LongestAsked = None
                    }
                    Durability = None
                    WhenFull = FullPolicy.Drop
                    ExpireAfter = None
                    IsIdentified = false
                    DeadLetterKeep = None
                    DeadLetterSink = None
                }
                "all given"

            problem
                (clone ", timeouts: 5s, delivery: {retry: 1.5, backoffPolicy: 1, backoffDelay: 5}")
                ("m.yaml:1: RequestClone default/a is not valid: "
                 + "spec.timeouts must be an object, not a string; "
                 + "spec.delivery.retry must be a whole number, not the number 1.5; "
                 + "spec.delivery.backoffPolicy must be a string, not the number 1 (write \"1\"); "
                 + "spec.delivery.backoffDelay must be a string, not the number 5 (write \"5\")")
        }

        test "a Service that is not valid is reported by name with every fault" {
            match
                parse
                    "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {clusterIP: nowhere, ports: [{port: http}, {port: 0}, 5, {name: 1}]}\n"
            with
            | [ Service(_, service) ], [ problem ] ->
                match service.Address with
                | ServiceAddress.Unreadable faults -> Expect.equal faults.Length 6 "every one"
                | address -> failtest $"{address}"

                Expect.equal
                    problem
                    ("m.yaml:1: Service default/bad is not valid: "
                     + "spec.clusterIP is \"nowhere\", but must be None or an IP address such as 10.96.0.1 (decimal, without leading zeros) or fd00::1 (without a zone); "
                     + "spec.ports[0].port must be a whole number, not a string; "
                     + "spec.ports[1].port is \"0\", but must be a whole number from 1 to 65535; "
                     + "spec.ports[2] must be an object, not the number 5; "
                     + "spec.ports[3].port is missing; "
                     + "spec.ports[3].name must be a string, not the number 1 (write \"1\")")
                    "all at once"
            | other -> failtest $"{other}"
        }

        test "documents that are no objects are said with their places" {
            let _, problems =
                parse
                    "apiVersion: v1\nkind: Service\nmetadata: {namespace: A}\n---\njust text\n---\nkind: Service\n"

            Expect.equal
                problems
                [
                    "m.yaml:1: metadata.name is missing; metadata.namespace is \"A\", but must be lower-case letters, digits, '-' and '.'"
                    "m.yaml:5: the document must be an object, not a string"
                    "m.yaml:7: apiVersion is missing"
                ]
                "each"
        }

        test "a misspelt kind or version of ours is said to be one" {
            let says apiVersion kind fault =
                problem
                    $"apiVersion: {apiVersion}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n"
                    $"m.yaml:1: {fault}"

            let version given =
                $"apiVersion is \"{given}\", but must be proxy.infra.doodle.com/v1beta1"

            for given in
                [
                    "proxy.infra.doodle.com/v1"
                    "proxy.infra.doodle.com/v1beta2"
                    "Proxy.infra.doodle.com/v1beta1"
                    "proxy.infra.doodle.com"
                    "proxy.infra.doddle.com/v1beta1"
                    "v1"
                ] do
                says given "RequestClone" (version given)

            says "proxy.infra.doodle.com/v1" "RequestCloneList" (version "proxy.infra.doodle.com/v1")

            for kind in [ "Requestclone"; "RequestClones"; "RequestCopy"; "Service" ] do
                says "proxy.infra.doodle.com/v1beta1" kind $"kind is \"{kind}\", but must be RequestClone"

            says "v1" "service" "kind is \"service\", but must be Service"
        }

        test
            "a field that a RequestClone does not have is reported, with the nearest right one; it is not routed" {
            let says (yaml: string) faults =
                let text =
                    $"apiVersion: proxy.infra.doodle.com/v1beta1\nkind: RequestClone\n{yaml}\n"

                match parse text with
                | [ Clone(_, clone) ], [ problem ] ->
                    Expect.isError clone.Spec "not routed"

                    Expect.equal problem $"m.yaml:1: RequestClone default/a is not valid: {faults}" "said"
                | other -> failtest $"{other}"

            let spec more =
                $"metadata: {{name: a}}\nspec: {{host: a.example, backend: {{serviceName: a, servicePort: b}}{more}}}"

            says
                (spec ", delivery: {retries: 3}")
                "unknown field spec.delivery.retries (did you mean spec.delivery.retry?)"

            says (spec ", hosts: [a]") "unknown field spec.hosts (did you mean spec.host?)"
            says (spec ", retry: 3") "unknown field spec.retry (did you mean spec.delivery.retry?)"
            says (spec ", colour: null") "unknown field spec.colour"
            says (spec "" + "\nhosts: [a]") "unknown field hosts (did you mean spec.host?)"

            says
                "metadata: {name: a, label: {}, labels: {n: 1, ok: yes!}}\nspec: {host: a.example, backend: {serviceNam: a, servicePort: 8.5}}"
                ("spec.backend.serviceName is missing; "
                 + "spec.backend.servicePort must be a string or a whole number, not the number 8.5; "
                 + "unknown field metadata.label (did you mean metadata.labels?); "
                 + "metadata.labels.n must be a string, not 1 (write \"1\"); "
                 + "unknown field spec.backend.serviceNam (did you mean spec.backend.serviceName?)")
        }

        test "an object as a cluster gives it is good" {
            let manifests, problems =
                parse
                    """
apiVersion: proxy.infra.doodle.com/v1beta1
kind: RequestClone
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"proxy.infra.doodle.com/v1beta1"}
  creationTimestamp: "2026-11-01T10:00:00Z"
  finalizers: [a.example/b]
  generation: 2
  labels: {team: a}
  managedFields:
  - apiVersion: proxy.infra.doodle.com/v1beta1
    fieldsType: FieldsV1
    fieldsV1: {"f:spec": {"f:host": {}}}
    manager: kubectl
    operation: Apply
  name: a
  namespace: shop
  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: x, uid: y}]
  resourceVersion: "123"
  uid: 8c5e
spec: {host: a.example, backend: {serviceName: a, servicePort: http}}
status:
  conditions: [{type: Ready, status: "True"}]
  anything: {at: all}
"""

            Expect.equal (keys manifests) [ "clone shop/a 2 True" ] "read"
            Expect.isEmpty problems "nothing wrong"
        }

        test "an address in another than the canonical spelling is none" {
            for text in
                [
                    "127.0.0.010"
                    "010.0.0.1"
                    "'127.1'"
                    "'2130706433'"
                    "0x7f.0.0.1"
                    "fe80::1%eth0"
                ] do
                match
                    parse
                        $"apiVersion: v1\nkind: Service\nmetadata: {{name: app}}\nspec: {{clusterIP: {text}, ports: [{{port: 80}}]}}\n"
                with
                | [ Service(_,
                            {
                                Address = ServiceAddress.Unreadable _
                            }) ],
                  [ problem ] -> Expect.stringContains problem "without leading zeros" text
                | other -> failtest $"{other}"
        }

        test "what is spoken over a port is read" {
            let ports = (service "{ports: [{port: 443, appProtocol: https}]}").Ports
            Expect.equal (ports |> List.map _.AppProtocol) [ Some "https" ] "https"
        }

        test "JSON manifests are read the same" {
            let text =
                """{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"clusterIP":"10.0.0.1","ports":[{"port":80}]}}"""

            match ManifestFile.parse RouteKinds.kinds "m.json" text with
            | Ok(manifests, []) -> Expect.equal (keys manifests) [ "service default/a 1" ] "read"
            | other -> failtest $"{other}"
        }

        test "files are known by their names" {
            for name in [ "a.yaml"; "b.yml"; "c.json"; "D.YAML" ] do
                Expect.isTrue (ManifestFile.isManifest name) name

            for name in [ "a.txt"; "yaml"; "a.yaml~"; "README.md" ] do
                Expect.isFalse (ManifestFile.isManifest name) name
        }
    ]
