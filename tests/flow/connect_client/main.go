// Connect's own client against a node: a GetFeatures request in JSON on each line of stdin, its reply on a line of stdout. By turns over
// HTTP/1.1 and over HTTP/2 with prior knowledge; given the file of an authority and a token, by TLS. Messages are google.protobuf.Struct, whose JSON is any object, so no code is generated.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

const path = "/freshet.v1.FeatureService/GetFeatures"

// Where the node is, and what it takes to be let in; ca "" is plaintext.
type node struct {
	address, ca, token string
}

type caller = connect.Client[structpb.Struct, structpb.Struct]

func newCaller(to node, isHTTP2 bool) (*caller, error) {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!isHTTP2)
	scheme := "http://"
	if to.ca == "" {
		transport.Protocols.SetUnencryptedHTTP2(isHTTP2)
	} else {
		scheme = "https://"
		transport.Protocols.SetHTTP2(isHTTP2)
		pem, err := os.ReadFile(to.ca)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem)
	}
	client := &http.Client{Transport: transport}
	return connect.NewClient[structpb.Struct, structpb.Struct](client, scheme+to.address+path, connect.WithProtoJSON()), nil
}

func ask(client *caller, token string, line []byte) error {
	request := new(structpb.Struct)
	if err := protojson.Unmarshal(line, request); err != nil {
		return err
	}
	call := connect.NewRequest(request)
	if token != "" {
		call.Header().Set("Authorization", "Bearer "+token)
	}
	reply, err := client.CallUnary(context.Background(), call)
	if err != nil {
		return err
	}
	text, err := protojson.Marshal(reply.Msg)
	if err == nil {
		_, err = fmt.Println(string(text))
	}
	return err
}

func run(to node) error {
	var callers [2]*caller
	for i := range callers {
		var err error
		if callers[i], err = newCaller(to, i == 1); err != nil {
			return err
		}
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for turn := 0; lines.Scan(); turn++ {
		if err := ask(callers[turn%len(callers)], to.token, lines.Bytes()); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	to := node{address: os.Args[1]}
	if len(os.Args) == 4 {
		to.ca, to.token = os.Args[2], os.Args[3]
	}
	if err := run(to); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
