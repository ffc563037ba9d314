module K8sReq.Core.Tests.MessageSyntaxTests

open Expecto
open K8sReq.Core

let private all (predicate: string -> bool) (texts: string list) expected =
    for text in texts do
        Expect.equal (predicate text) expected text

let tests =
    testList "MessageSyntax" [
        test "tokens" {
            all MessageSyntax.isToken [ "GET"; "M-SEARCH"; "x"; "!#$%&'*+-.^_`|~09azAZ" ] true

            all
                MessageSyntax.isToken
                [ ""; "A B"; "A:"; "A "; "a\t"; "caf\u00e9"; "a(b"; "a\r\n"; "a,b" ]
                false
        }

        test "field names, HTTP/2's own among them" {
            all MessageSyntax.isFieldName [ "X-A"; ":authority"; "x_y" ] true

            all
                MessageSyntax.isFieldName
                [ ""; ":"; "x "; "content-length "; "connection:close, x"; "a:b" ]
                false
        }

        test "values of fields" {
            all MessageSyntax.isFieldValue [ ""; "a b"; "a\tb"; "\u00e9\u0080"; "a,b;c=\"d\"" ] true

            all
                MessageSyntax.isFieldValue
                [ "\u0000"; "a\u0001"; "\u000bb"; "\u001f"; "a\u007fb"; "\r"; "\n" ]
                false
        }

        test "request targets" {
            all
                MessageSyntax.isTarget
                [
                    "/"
                    "/a%2Fb/../c%20d;x=1?q=%41"
                    "*"
                    "http://a/"
                    "/|{}\"<>^`\\"
                    "/caf\u00e9"
                    "/\u0080\u00ff"
                ]
                true

            all
                MessageSyntax.isTarget
                [
                    ""
                    "/x y"
                    "/x HTTP/1.1"
                    "/\t"
                    "/\u0001"
                    "/\u007f"
                    "/x#y"
                    "/\u0100"
                    "/\u4f60"
                ]
                false
        }
    ]
