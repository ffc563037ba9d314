module K8sReq.Core.Tests.Bench.MethodSamplesTests

open Expecto
open K8sReq.Bench

let tests =
    testList "Bench.MethodSamples" [
        test "methods of the program on an event loop or the journal's thread are counted, and nothing else" {
            let printed =
                "\n\
                 loop 0      55cd1 K8sReq_Proxy_K8sReq_Proxy_EventLoop__run (/programs/k8sreq)\n\
                 loop 1      55cd2 K8sReq_Proxy_K8sReq_Proxy_EventLoop__run (/programs/k8sreq)\n\
                 loop 0      55cd3 HostMap_1<System___Canon>__Lookup (/programs/k8sreq)\n\
                 journal     55cd8 K8sReq_Journal_K8sReq_Journal_JournalQueue__Next (/programs/k8sreq)\n\
                 .NET TP Worker 55cd4 K8sReq_Host_Log__write (/programs/k8sreq)\n\
                 loop 0      55cd5 WKS::gc_heap::mark_phase (/programs/k8sreq)\n\
                 loop 0      55cd6 RhpNewFast (/programs/k8sreq)\n\
                 loop 0      55cd7 [unknown] (/programs/k8sreq)\n\
                 loop 0      7f2a1 __send (/lib/libc.so.6)\n"

            Expect.equal
                (MethodSamples.count "/programs/k8sreq" printed)
                (Map [
                    "K8sReq_Proxy_K8sReq_Proxy_EventLoop__run", 2
                    "HostMap_1<System___Canon>__Lookup", 1
                    "K8sReq_Journal_K8sReq_Journal_JournalQueue__Next", 1
                ])
                "by name"
        }
    ]
