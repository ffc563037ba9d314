/// What helm and kustomize make of the chart and the bases.
module K8sReq.Chart.Tests.ChartTests

open System
open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open Expecto
open K8sReq.Core
open K8sReq.Chart.Tests.Tools
open K8sReq.Chart.Tests.Manifest

let private valueFiles =
    Directory.GetFiles(Path.Combine(root, "tests", "K8sReq.Chart.Tests", "values"), "*.yaml")
    |> List.ofArray
    |> List.sort

let render helm arguments =
    succeed helm ([ "template"; "rel"; chart; "--namespace"; "sys" ] @ withImage @ arguments)
    |> parse

let renderFile helm name arguments =
    let file =
        valueFiles
        |> List.find (fun file -> Path.GetFileNameWithoutExtension file = name)

    render helm ([ "--values"; file ] @ arguments)

/// What makes the pods: the Deployment, or with persistence the StatefulSet.
let workload objects =
    match kind objects "Deployment" @ kind objects "StatefulSet" with
    | [ one ] -> one
    | several -> failtest $"{several.Length} objects that make pods"

let podOf objects =
    at [ "spec"; "template"; "spec" ] (workload objects)

let containerOf objects =
    (items [ "containers" ] (podOf objects)).Head

/// The variables that are given in the manifest itself.
let environment objects =
    items [ "env" ] (containerOf objects)
    |> List.choose (fun variable ->
        tryText [ "value" ] variable
        |> Option.map (fun value -> text [ "name" ] variable, value))

/// What the telemetry says of where it comes from.
let resourceAttributes objects : (string * string) list =
    match Map.tryFind "OTEL_RESOURCE_ATTRIBUTES" (Map.ofList (environment objects)) with
    | None -> []
    | Some value -> [
        for attribute in value.Split ',' ->
            match attribute.Split('=', 2) with
            | [| name; value |] -> name.Trim(), value
            | _ -> failtest $"no attribute: {attribute}"
      ]

let settings objects : Settings =
    match Settings.parse (Map.ofList (environment objects)) [] with
    | Ok settings -> settings
    | Error errors -> failtest $"the program would refuse its environment: {errors}"

let private port name objects =
    items [ "ports" ] (containerOf objects)
    |> List.find (fun port -> text [ "name" ] port = name)
    |> text [ "containerPort" ]
    |> int

/// What has to be so, whatever the values.
let private expectConsistent (objects: JsonElement list) =
    let settings = settings objects

    // A port is the same wherever it is named.
    for name, address in
        [
            "http", settings.HttpAddr
            "metrics", settings.MetricsAddr
            "probes", settings.ProbeAddr
        ] do
        Expect.equal (port name objects) address.Port $"{name} is where the program listens"

    for probe in [ "livenessProbe"; "readinessProbe"; "startupProbe" ] do
        Expect.equal (text [ probe; "httpGet"; "port" ] (containerOf objects)) "probes" probe

    let services = kind objects "Service"
    Expect.isNonEmpty services "a Service"

    for service in services do
        for port in items [ "spec"; "ports" ] service do
            Expect.equal (text [ "targetPort" ] port) (text [ "name" ] port) "ports of the Service go by name"

    // Selectors find the pods.
    let labels = fields [ "spec"; "template"; "metadata"; "labels" ] (workload objects)

    let expectSelects path object =
        for KeyValue(name, value) in fields path object do
            Expect.equal (labels.TryFind name) (Some value) $"the selector of {object}"

    services |> List.iter (expectSelects [ "spec"; "selector" ])
    expectSelects [ "spec"; "selector"; "matchLabels" ] (workload objects)

    // The Services of a ServiceMonitor are those with its port.
    for monitor in kind objects "ServiceMonitor" do
        let wanted = text [ "port" ] (items [ "spec"; "endpoints" ] monitor).Head

        let found = [
            for service in services do
                let labels = fields [ "metadata"; "labels" ] service

                if
                    fields [ "spec"; "selector"; "matchLabels" ] monitor
                    |> Map.forall (fun name value -> labels.TryFind name = Some value)
                then
                    for port in items [ "spec"; "ports" ] service do
                        if text [ "name" ] port = wanted then
                            text [ "targetPort" ] port
        ]

        Expect.equal found [ "metrics" ] "one Service with the metrics"

    // What stands in front leads to the Service that receives requests.
    let receiving =
        services
        |> List.map (fun service -> text [ "metadata"; "name" ] service)
        |> List.head

    for ingress in kind objects "Ingress" do
        for rule in items [ "spec"; "rules" ] ingress do
            let backend = at [ "backend"; "service" ] (items [ "http"; "paths" ] rule).Head

            Expect.equal
                (text [ "name" ] backend, text [ "port"; "name" ] backend)
                (receiving, "http")
                "the Ingress"

    for route in kind objects "HTTPRoute" do
        let backend = (items [ "backendRefs" ] (items [ "spec"; "rules" ] route).Head).Head

        Expect.equal
            (text [ "name" ] backend, int (text [ "port" ] backend))
            (receiving, settings.HttpAddr.Port)
            "the route"

    for kindName in [ "PodDisruptionBudget"; "PodMonitor" ] do
        kind objects kindName
        |> List.iter (expectSelects [ "spec"; "selector"; "matchLabels" ])

    for scaler in kind objects "HorizontalPodAutoscaler" do
        Expect.equal
            (List.map (fun name -> text [ "spec"; "scaleTargetRef"; name ] scaler) [ "kind"; "name" ])
            [
                text [ "kind" ] (workload objects)
                text [ "metadata"; "name" ] (workload objects)
            ]
            "what the autoscaler scales"

    kind objects "NetworkPolicy"
    |> List.iter (expectSelects [ "spec"; "podSelector"; "matchLabels" ])

    // Each variable once.
    let names = items [ "env" ] (containerOf objects) |> List.map (text [ "name" ])

    Expect.equal (List.distinct names) names "each variable once"

    let ofPod = [ "POD_NAME"; "POD_NAMESPACE"; "POD_UID"; "NODE_NAME" ]
    let known = ofPod @ (KnownSettings.specs |> List.map SettingSpec.variable)

    for name in names do
        Expect.isTrue
            (List.contains name known || name.StartsWith("OTEL_", StringComparison.Ordinal))
            $"{name} is a setting of the program"

    // Kubernetes puts in the variables that stand before; of others the reference itself remains.
    names
    |> List.iteri (fun index name ->
        for value in
            items [ "env" ] (containerOf objects)
            |> List.item index
            |> tryText [ "value" ]
            |> Option.toList do
            for reference in Regex.Matches(value, @"\$\((\w+)\)") do
                Expect.contains
                    (List.take index names)
                    reference.Groups[1].Value
                    $"what {name} refers to stands before it")

    let attributes = resourceAttributes objects

    Expect.equal (List.distinctBy fst attributes).Length attributes.Length "each resource attribute once"

    // Time to stop.
    let grace =
        float (text [ "terminationGracePeriodSeconds" ] (podOf objects))
        |> TimeSpan.FromSeconds

    Expect.isGreaterThan
        grace
        (settings.ShutdownDelay + settings.GracefulShutdownTimeout)
        "the pod is not killed before it has stopped"

/// The container keeps to the restricted profile of pod security.
let private expectRestricted (objects: JsonElement list) =
    let container = containerOf objects
    Expect.equal (text [ "securityContext"; "allowPrivilegeEscalation" ] container) "False" "no escalation"

    Expect.equal (text [ "securityContext"; "readOnlyRootFilesystem" ] container) "True" "read only"

    Expect.equal
        (items [ "securityContext"; "capabilities"; "drop" ] container |> List.map string)
        [ "ALL" ]
        "no capabilities"

let expectSound (objects: JsonElement list) =
    expectConsistent objects
    expectRestricted objects
    let pod = podOf objects
    Expect.equal (text [ "securityContext"; "runAsNonRoot" ] pod) "True" "not root"
    Expect.equal (text [ "securityContext"; "seccompProfile"; "type" ] pod) "RuntimeDefault" "seccomp"

/// Where a role holds, what it is about, and what it allows.
let private allowed (objects: JsonElement list) =
    [
        for role in kind objects "Role" @ kind objects "ClusterRole" do
            if
                not (
                    text [ "metadata"; "name" ] role
                    |> fun name -> name.EndsWith "-view" || name.EndsWith "-edit"
                )
            then
                for rule in items [ "rules" ] role do
                    for resource in items [ "resources" ] rule do
                        let verbs =
                            items [ "verbs" ] rule |> List.map string |> List.sort |> String.concat ","

                        tryText [ "metadata"; "namespace" ] role |> Option.defaultValue "*",
                        string resource,
                        verbs
    ]
    |> List.sort

let private whatIsNeeded scopes leaseNamespace =
    [
        for scope in scopes do
            scope, "requestclones", "list,watch"
            scope, "requestclones/status", "patch"
            scope, "services", "list,watch"
            scope, "events", "create"
        leaseNamespace, "leases", "create"
        leaseNamespace, "leases", "get,update"
    ]
    |> List.sort

let refuses name arguments (said: string) =
    withHelm $"{name} is refused" (fun helm ->
        let code, _, errors =
            run helm ([ "template"; "rel"; chart ] @ withImage @ arguments)

        Expect.notEqual code 0 "refused"
        Expect.stringContains errors said "why")

let withoutOrigin (element: JsonElement) =
    // Names of a release and of helm, which kustomize has not.
    element.GetRawText().Replace("rel-k8sreq-duplicator-controller", "k8sreq-duplicator-controller")

let tests =
    testList "chart" [
        withHelm "lints" (fun helm ->
            for file in valueFiles do
                succeed helm ([ "lint"; "--strict"; chart; "--values"; file ] @ withImage)
                |> ignore)

        for file in valueFiles do
            withHelm $"with {Path.GetFileName file} it is sound" (fun helm ->
                expectSound (render helm [ "--values"; file ]))

        withHelm "cluster-wide it may do what the program does, and no more" (fun helm ->
            Expect.equal (allowed (render helm [])) (whatIsNeeded [ "*" ] "sys") "permissions")

        withHelm "in namespaces it may do the same there, and watches these" (fun helm ->
            let objects = renderFile helm "namespaced" []
            Expect.equal (allowed objects) (whatIsNeeded [ "shop"; "blog" ] "sys") "permissions"
            Expect.equal (settings objects).Namespaces [ "shop"; "blog" ] "what is watched"

            Expect.isEmpty
                (kind objects "ClusterRole" @ kind objects "ClusterRoleBinding")
                "nothing cluster-wide"

            for binding in kind objects "RoleBinding" do
                let subject = (items [ "subjects" ] binding).Head

                Expect.equal
                    (text [ "name" ] subject, text [ "namespace" ] subject)
                    ("given", "sys")
                    "for whom")

        withHelm "without namespaces given it is the release's own" (fun helm ->
            let objects = render helm [ "--set"; "clusterRBAC.enabled=false" ]
            Expect.equal (allowed objects) (whatIsNeeded [ "sys" ] "sys") "permissions"
            Expect.equal (settings objects).Namespaces [ "sys" ] "what is watched")

        withHelm "the lease is where the environment says" (fun helm ->
            let objects = render helm [ "--set"; "env.LEADER_ELECTION_NAMESPACE=other" ]
            Expect.equal (allowed objects) (whatIsNeeded [ "*" ] "other") "permissions"
            Expect.equal (settings objects).LeaderElectionNamespace (Some "other") "the setting")

        withHelm "by default there are two replicas and one of them leads" (fun helm ->
            let objects = render helm []
            Expect.equal (text [ "spec"; "replicas" ] (theOnly objects "Deployment")) "2" "two"
            Expect.isTrue (settings objects).EnableLeaderElection "elected"
            Expect.hasLength (kind objects "PodDisruptionBudget") 1 "and a budget")

        withHelm "values of the predecessor mean what they did" (fun helm ->
            let objects = renderFile helm "predecessor" []
            let settings = settings objects
            Expect.equal (settings.Namespaces, settings.Concurrent) ([ "default" ], 10) "the environment"

            let deployment = theOnly objects "Deployment"

            Expect.equal
                (text [ "metadata"; "name" ] deployment)
                "rel-k8sreq-duplicator-controller"
                "its name"

            Expect.equal
                (fields [ "spec"; "selector"; "matchLabels" ] deployment)
                (Map.ofList [
                    "app.kubernetes.io/name", "k8sreq-duplicator-controller"
                    "app.kubernetes.io/instance", "rel"
                ])
                "its selector, which no upgrade may change"

            let services =
                kind objects "Service"
                |> List.map (fun service ->
                    text [ "metadata"; "name" ] service,
                    items [ "spec"; "ports" ] service
                    |> List.map (fun port -> text [ "name" ] port, text [ "port" ] port))

            Expect.equal
                services
                [
                    "rel-k8sreq-duplicator-controller", [ "http", "8080" ]
                    "rel-k8sreq-duplicator-controller-metrics", [ "metrics", "9556" ]
                ]
                "the Services and their ports"

            let rule = theOnly objects "PrometheusRule"

            Expect.stringContains
                (rule.GetRawText())
                "absent(up{job=\\u0022rel\\u0022})"
                "rules are kept, and are templates"

            let secret =
                items [ "env" ] (containerOf objects)
                |> List.find (fun variable -> text [ "name" ] variable = "OTEL_EXPORTER_OTLP_HEADERS")

            Expect.equal (text [ "valueFrom"; "secretKeyRef"; "key" ] secret) "headers" "from a secret")

        withHelm "the PodMonitor scrapes what the pods serve, as its values say" (fun helm ->
            let enabled = [ "--set"; "podMonitor.enabled=true" ]

            let endpointOf objects =
                (items [ "spec"; "podMetricsEndpoints" ] (theOnly objects "PodMonitor")).Head

            let objects = render helm enabled
            let endpoint = endpointOf objects
            let settings = settings objects

            Expect.equal
                (port (text [ "port" ] endpoint) objects)
                settings.MetricsAddr.Port
                "the port that the program serves them on"

            Expect.equal
                (List.map (fun name -> text [ name ] endpoint) [ "path"; "interval"; "scrapeTimeout" ])
                [ "/metrics"; "30s"; "10s" ]
                "where and how often"

            // Else whose copies they are is not to be seen from the label of that name.
            Expect.equal (text [ "honorLabels" ] endpoint) "True" "labels"

            Expect.equal
                (items [ "spec"; "namespaceSelector"; "matchNames" ] (theOnly objects "PodMonitor")
                 |> List.map string)
                [ "sys" ]
                "the release's pods"

            let objects =
                render
                    helm
                    (enabled
                     @ [
                         "--set"
                         "podMonitor.namespace=monitoring,podMonitor.interval=5s,podMonitor.scrapeTimeout=4s,podMonitor.honorLabels=false"
                         "--set"
                         "podMonitor.additionalLabels.release=prometheus,podMonitor.targetLabels[0]=team,podMonitor.sampleLimit=1000"
                         "--set"
                         "podMonitor.metricRelabelings[0].action=labeldrop,podMonitor.metricRelabelings[0].regex=version"
                     ])

            let monitor = theOnly objects "PodMonitor"
            let endpoint = endpointOf objects
            Expect.equal (text [ "metadata"; "namespace" ] monitor) "monitoring" "namespace"
            Expect.equal (text [ "metadata"; "labels"; "release" ] monitor) "prometheus" "labels"

            Expect.equal
                (items [ "spec"; "podTargetLabels" ] monitor |> List.map string)
                [ "team" ]
                "pod labels"

            Expect.equal (text [ "spec"; "sampleLimit" ] monitor) "1000" "limit"

            Expect.equal
                (List.map (fun name -> text [ name ] endpoint) [ "interval"; "scrapeTimeout"; "honorLabels" ])
                [ "5s"; "4s"; "False" ]
                "the endpoint"

            Expect.equal
                (text [ "regex" ] (items [ "metricRelabelings" ] endpoint).Head)
                "version"
                "relabelling")

        withHelm "without an image it says how to get one" (fun helm ->
            let code, _, errors =
                run helm [ "template"; "rel"; chart; "--set"; "image.tag=2.0.0" ]

            Expect.notEqual code 0 "refused"

            for said in
                [
                    "image.repository is not set"
                    "docker build -t k8sreq:2.0.0 ."
                    "kind load docker-image k8sreq:2.0.0"
                    "docker push REGISTRY/k8sreq:2.0.0"
                    "--set image.repository=REGISTRY/k8sreq"
                ] do
                Expect.stringContains errors said "what to do")

        withHelm "common labels are on every object and the pods, and in no selector or claim" (fun helm ->
            for more in [ []; [ "--set"; "persistence.enabled=true" ] ] do
                let objects =
                    render
                        helm
                        ([
                            "--set"
                            "commonLabels.team=web,service.labels.team=hooks,ingress.enabled=true,ingress.hosts={a.example}"
                            "--set"
                            "podMonitor.enabled=true,prometheusRule.enabled=true,grafanaDashboard.enabled=true"
                         ]
                         @ more)

                for object in objects do
                    let name = text [ "metadata"; "name" ] object

                    let expected =
                        if
                            text [ "kind" ] object = "Service" && name = "rel-k8sreq-duplicator-controller"
                        then
                            "hooks"
                        else
                            "web"

                    Expect.equal
                        (tryText [ "metadata"; "labels"; "team" ] object)
                        (Some expected)
                        $"""{text [ "kind" ] object} {name}"""

                let pods = at [ "spec"; "template" ] (workload objects)
                Expect.equal (text [ "metadata"; "labels"; "team" ] pods) "web" "the pods"

                Expect.isNone
                    (tryAt [ "spec"; "selector"; "matchLabels"; "team" ] (workload objects))
                    "the selector"

                for claim in items [ "spec"; "volumeClaimTemplates" ] (workload objects) do
                    Expect.isNone (tryAt [ "metadata"; "labels"; "team" ] claim) "the claims")

        withHelm "labels that are given to the pods do not hide them from the selector" (fun helm ->
            let objects =
                render helm [ "--set"; "podLabels.app\\.kubernetes\\.io/name=other,podLabels.team=web" ]

            expectSound objects

            Expect.equal
                (text [ "spec"; "template"; "metadata"; "labels"; "team" ] (workload objects))
                "web"
                "theirs")

        refuses
            "a common label that is the chart's own"
            [ "--set"; "commonLabels.app\\.kubernetes\\.io/name=x" ]
            "commonLabels: app.kubernetes.io/name is a label that the chart sets itself"
        refuses "a log level that is none" [ "--set"; "logLevel=loud" ] "logLevel"
        refuses "an Ingress without hosts" [ "--set"; "ingress.enabled=true" ] "ingress.hosts is empty"
        refuses
            "an HTTPRoute without a Gateway"
            [ "--set"; "httpRoute.enabled=true,httpRoute.hostnames={a.example}" ]
            "httpRoute.parentRefs"
        refuses
            "two monitors"
            [ "--set"; "podMonitor.enabled=true,serviceMonitor.enabled=true" ]
            "would bring each series twice"

        withHelm "what is further is there: volumes, log settings, objects as templates" (fun helm ->
            let objects = renderFile helm "further" []
            let settings = settings objects
            Expect.equal (settings.LogDetail, settings.LogFormat) (LogDetail.Debug, LogFormat.Json) "the log"

            Expect.equal
                (items [ "volumes" ] (podOf objects) |> List.map (text [ "name" ]))
                [ "secret"; "cache" ]
                "volumes"

            Expect.equal
                (items [ "volumeMounts" ] (containerOf objects)
                 |> List.map (text [ "mountPath" ]))
                [ "/secrets"; "/cache" ]
                "where they are"

            Expect.equal
                (kind objects "ConfigMap" |> List.map (text [ "metadata"; "name" ]))
                [ "rel-text"; "rel-object" ]
                "objects of one's own"

            let monitor = theOnly objects "ServiceMonitor"

            Expect.equal
                (text [ "metadata"; "labels"; "release" ] monitor)
                "prometheus"
                "the monitor's labels"

            Expect.stringContains
                ((theOnly objects "PrometheusRule").GetRawText())
                "job=\\u0022rel-k8sreq-duplicator-controller-metrics\\u0022"
                "alerts look at the series that the ServiceMonitor brings"

            let ingress = theOnly objects "Ingress"
            Expect.equal (text [ "spec"; "ingressClassName" ] ingress) "nginx" "its class"

            Expect.equal
                (items [ "spec"; "rules" ] ingress |> List.map (text [ "host" ]))
                [ "webhooks.example"; "hooks.example" ]
                "its hosts"

            Expect.equal
                (items [ "spec"; "hostnames" ] (theOnly objects "HTTPRoute") |> List.map string)
                [ "webhooks.example" ]
                "the route's")

        withHelm "a setting in env wins over the value for it" (fun helm ->
            let objects = render helm [ "--set"; "logLevel=debug,env.LOG_LEVEL=error" ]
            Expect.equal (settings objects).LogDetail LogDetail.Error "env")

        withHelm "an image may be given by its digest" (fun helm ->
            let digest = "sha256:" + String.replicate 64 "a"

            let imageOf arguments =
                render helm arguments |> containerOf |> text [ "image" ]

            Expect.stringEnds (imageOf [ "--set"; $"image.digest={digest}" ]) $"@{digest}" "pinned"
            Expect.isFalse (imageOf [] |> _.Contains('@')) "by its tag else")

        withHelm "ports that are changed are changed everywhere" (fun helm ->
            let objects = renderFile helm "ports" []

            Expect.equal
                (port "http" objects, port "metrics" objects, port "probes" objects)
                (9080, 9082, 9081)
                "ports"

            let policy = (theOnly objects "NetworkPolicy").GetRawText()

            for allowed in [ "9080"; "9082" ] do
                Expect.stringContains policy allowed "the policy"

            Expect.isNone
                (tryAt [ "spec"; "replicas" ] (theOnly objects "Deployment"))
                "the autoscaler decides")

        refuses "a value that does not exist" [ "--set"; "replica=3" ] "replica"
        refuses "a digest that is none" [ "--set"; "image.digest=sha256:1" ] "digest"
        refuses "a port that is none" [ "--set"; "httpPort=http" ] "httpPort"
        refuses
            "a time to stop that is not known"
            [ "--set"; "shutdownDelay=1m30s" ]
            "terminationGracePeriodSeconds"
        refuses "a variable that is an object" [ "--set"; "env.A.b=c" ] "env"

        // Helm reads numbers as floating point.
        withHelm "numbers among the variables are written out" (fun helm ->
            let file = Path.GetTempFileName()

            try
                File.WriteAllText(
                    file,
                    "env: {JOURNAL_BYTES: 2147483648, QUEUE_BYTES: 33554432, CONCURRENT: 4, OTEL_TRACES_SAMPLER_ARG: 0.01}"
                )

                let given = render helm [ "--values"; file ] |> environment |> Map.ofList

                Expect.equal
                    (List.map (fun name -> given[name]) [
                        "JOURNAL_BYTES"
                        "QUEUE_BYTES"
                        "CONCURRENT"
                        "OTEL_TRACES_SAMPLER_ARG"
                    ])
                    [ "2147483648"; "33554432"; "4"; "0.01" ]
                    "as they were given"
            finally
                File.Delete file)

        withHelm "telemetry says which pod it is of, and what users add" (fun helm ->
            let kubernetes (workload: string) = [
                "k8s.namespace.name", "$(POD_NAMESPACE)"
                "k8s.pod.name", "$(POD_NAME)"
                "k8s.pod.uid", "$(POD_UID)"
                "k8s.node.name", "$(NODE_NAME)"
                "k8s.container.name", "k8sreq-duplicator-controller"
                $"k8s.{workload}.name", "rel-k8sreq-duplicator-controller"
            ]

            let objects = render helm []
            Expect.equal (resourceAttributes objects) (kubernetes "deployment") "of a Deployment"

            Expect.equal
                [
                    for variable in items [ "env" ] (containerOf objects) do
                        match tryText [ "valueFrom"; "fieldRef"; "fieldPath" ] variable with
                        | Some field -> text [ "name" ] variable, field
                        | None -> ()
                ]
                [
                    "NODE_NAME", "spec.nodeName"
                    "POD_NAME", "metadata.name"
                    "POD_NAMESPACE", "metadata.namespace"
                    "POD_UID", "metadata.uid"
                ]
                "what the variables are"

            Expect.equal
                (resourceAttributes (render helm [ "--set"; "persistence.enabled=true" ]))
                (kubernetes "statefulset")
                "of a StatefulSet"

            let given (value: string) =
                let objects = render helm [ "--set"; $"env.OTEL_RESOURCE_ATTRIBUTES={value}" ]
                expectSound objects
                resourceAttributes objects

            let own = [ "deployment.environment.name", "prod"; "team", "a" ]

            Expect.equal
                (given @"deployment.environment.name=prod\,team=a\,")
                (kubernetes "deployment" @ own)
                "added"

            Expect.equal
                (given @"k8s.pod.name=mine\, k8s.node.name = here")
                ((kubernetes "deployment"
                  |> List.filter (fun (name, _) -> name <> "k8s.pod.name" && name <> "k8s.node.name"))
                 @ [ "k8s.pod.name", "mine"; "k8s.node.name", " here" ])
                "instead of the chart's"

            let fromSecret =
                render helm [
                    "--set"
                    "extraEnvSecrets.OTEL_RESOURCE_ATTRIBUTES.secret=s,extraEnvSecrets.OTEL_RESOURCE_ATTRIBUTES.key=k"
                    "--set"
                    "env.POD_NAME=given"
                ]

            expectSound fromSecret
            Expect.isEmpty (resourceAttributes fromSecret) "all of them from a Secret")

        withHelm "a Service that is opened to the outside does not open the metrics" (fun helm ->
            let objects = render helm [ "--set"; "service.type=LoadBalancer" ]

            let opened = [
                for service in kind objects "Service" do
                    for port in items [ "spec"; "ports" ] service do
                        text [ "spec"; "type" ] service, text [ "name" ] port
            ]

            Expect.equal opened [ "LoadBalancer", "http"; "ClusterIP", "metrics" ] "types and ports")

        withHelm "names that YAML would read as something else are names" (fun helm ->
            for release in [ "n"; "on"; "123"; "1e3"; "null" ] do
                let objects =
                    succeed helm ([ "template"; release; chart; "--namespace"; "5" ] @ withImage)
                    |> parse

                expectSound objects

                for object in objects do
                    Expect.equal
                        (text [ "metadata"; "labels"; "app.kubernetes.io/instance" ] object)
                        release
                        "the label"

                    let instance = at [ "metadata"; "labels"; "app.kubernetes.io/instance" ] object

                    Expect.equal instance.ValueKind JsonValueKind.String "a string"

                let named =
                    succeed
                        helm
                        ([
                            "template"
                            "rel"
                            chart
                            "--set-string"
                            $"fullnameOverride={release}"
                            "--namespace"
                            release
                         ]
                         @ withImage)
                    |> parse

                for object in named do
                    let name = at [ "metadata"; "name" ] object
                    Expect.equal name.ValueKind JsonValueKind.String $"a string: {name}")

        withHelm "each release has a Lease of its own, and may use no other" (fun helm ->
            let leaseOf release =
                let objects = succeed helm ([ "template"; release; chart ] @ withImage) |> parse

                let names =
                    kind objects "Role"
                    |> List.collect (items [ "rules" ])
                    |> List.collect (fun rule ->
                        match rule.TryGetProperty "resourceNames" with
                        | true, names -> [ for name in names.EnumerateArray() -> string name ]
                        | false, _ -> [])

                Expect.equal names [ (settings objects).LeaderElectionName ] "what the role allows"
                names

            Expect.notEqual (leaseOf "one") (leaseOf "two") "two releases")

        withHelm "namespaces are watched with and without a ClusterRole" (fun helm ->
            let given = [ "--set"; "namespaces={shop,blog}" ]
            let wide = render helm given
            Expect.equal (settings wide).Namespaces [ "shop"; "blog" ] "with it"
            Expect.equal (allowed wide) (whatIsNeeded [ "*" ] "sys") "the role is the cluster's"
            let narrow = render helm (given @ [ "--set"; "clusterRBAC.enabled=false" ])
            Expect.equal (settings narrow).Namespaces [ "shop"; "blog" ] "without it")

        // helm upgrade --reuse-values: the values of the release as it is stand in the place of values.yaml.
        withHelm "the values that the replaced chart has left are enough" (fun helm ->
            let folder = Directory.CreateTempSubdirectory "k8sreq-chart"

            try
                let copy = Path.Combine(folder.FullName, "chart")

                for file in Directory.GetFiles(chart, "*", SearchOption.AllDirectories) do
                    let target = Path.Combine(copy, Path.GetRelativePath(chart, file))
                    Directory.CreateDirectory(nonNull (Path.GetDirectoryName target)) |> ignore
                    File.Copy(file, target)

                File.Copy(
                    Path.Combine(root, "tests", "K8sReq.Chart.Tests", "replaced-values.yaml"),
                    Path.Combine(copy, "values.yaml"),
                    true
                )

                for more in
                    [
                        []
                        [ "--set"; "podMonitor.enabled=true,prometheusRule.enabled=true" ]
                        [ "--set"; "networkPolicy.enabled=true,horizontalPodAutoscaler.enabled=true" ]
                        [ "--set"; "leaderElection.enabled=false" ]
                    ] do
                    let objects =
                        succeed helm ([ "template"; "rel"; copy; "--namespace"; "sys" ] @ more) |> parse

                    expectConsistent objects
                    expectRestricted objects

                    Expect.equal
                        (settings objects).EnableLeaderElection
                        (more <> [ "--set"; "leaderElection.enabled=false" ])
                        "what is given stands, false as well"
            finally
                folder.Delete true)

        test "the values that are completed are the chart's" {
            Expect.equal
                (File.ReadAllText(Path.Combine(chart, "files", "values.yaml")))
                (File.ReadAllText(Path.Combine(chart, "values.yaml")))
                "files/values.yaml is a copy of values.yaml"
        }

        withKubectl "kustomize: the bases render, and are what the chart is" (fun kubectl ->
            let folder = Path.Combine(root, "deploy", "kustomize")

            let objects =
                succeed kubectl [ "kustomize"; Path.Combine(folder, "default") ] |> parse

            expectSound objects
            Expect.equal (allowed objects) (whatIsNeeded [ "*" ] "k8sreq-system") "permissions"

            // `kubectl delete -k` of the one must not delete the other, and every RequestClone with it.
            Expect.isEmpty (kind objects "CustomResourceDefinition") "without the CRD"
            let apart = succeed kubectl [ "kustomize"; Path.Combine(folder, "crd") ] |> parse

            Expect.equal
                (apart |> List.map (text [ "metadata"; "name" ]))
                [ "requestclones.proxy.infra.doodle.com" ]
                "the CRD, alone"

            // A Deployment's selector is immutable: it is that of the releases before, and so is the Services'.
            for selector, name in
                [
                    [ "spec"; "selector"; "matchLabels" ], "Deployment"
                    [ "spec"; "selector" ], "Service"
                ] do
                for object in kind objects name do
                    Expect.equal
                        (fields selector object
                         |> Seq.map (fun field -> field.Key, string field.Value)
                         |> List.ofSeq)
                        [ "control-plane", "controller-manager" ]
                        $"the selector of the {name}"

            Expect.equal
                (kind objects "Service"
                 |> List.map (fun service ->
                     text [ "metadata"; "name" ] service,
                     items [ "spec"; "ports" ] service |> List.map (text [ "name" ])))
                [
                    "k8sreq-duplicator-controller", [ "http" ]
                    "k8sreq-duplicator-controller-metrics", [ "metrics" ]
                ]
                "the metrics are no port of the Service that receives requests"

            for binding in kind objects "ClusterRoleBinding" do
                Expect.equal
                    (text [ "namespace" ] (items [ "subjects" ] binding).Head)
                    "k8sreq-system"
                    "for whom")

        withHelm "kustomize: the container is the chart's" (fun helm ->
            let ofChart = containerOf (render helm [])

            let ofBase =
                File.ReadAllText(Path.Combine(root, "deploy", "kustomize", "base", "deployment.yaml"))
                |> parse
                |> containerOf

            for part in
                [
                    "image"
                    "ports"
                    "livenessProbe"
                    "readinessProbe"
                    "startupProbe"
                    "resources"
                    "securityContext"
                ] do
                Expect.equal (withoutOrigin (at [ part ] ofBase)) (withoutOrigin (at [ part ] ofChart)) part

            let attributes container =
                items [ "env" ] container
                |> List.find (fun variable -> text [ "name" ] variable = "OTEL_RESOURCE_ATTRIBUTES")
                |> at [ "value" ]

            Expect.equal
                (withoutOrigin (attributes ofBase))
                (withoutOrigin (attributes ofChart))
                "what telemetry says of it")
    ]
