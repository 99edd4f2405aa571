// Connect's own client against a node: a GetFeatures request in JSON on each line of stdin, its reply on a line of stdout. By turns over
// HTTP/1.1 and over HTTP/2 with prior knowledge. Messages are google.protobuf.Struct, whose JSON is any object, so no code is generated.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

const path = "/freshet.v1.FeatureService/GetFeatures"

type caller = connect.Client[structpb.Struct, structpb.Struct]

func newCaller(address string, isHTTP2 bool) *caller {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!isHTTP2)
	protocols.SetUnencryptedHTTP2(isHTTP2)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	return connect.NewClient[structpb.Struct, structpb.Struct](client, "http://"+address+path, connect.WithProtoJSON())
}

func ask(client *caller, line []byte) error {
	request := new(structpb.Struct)
	if err := protojson.Unmarshal(line, request); err != nil {
		return err
	}
	reply, err := client.CallUnary(context.Background(), connect.NewRequest(request))
	if err != nil {
		return err
	}
	text, err := protojson.Marshal(reply.Msg)
	if err == nil {
		_, err = fmt.Println(string(text))
	}
	return err
}

func run(address string) error {
	callers := []*caller{newCaller(address, false), newCaller(address, true)}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for turn := 0; lines.Scan(); turn++ {
		if err := ask(callers[turn%len(callers)], lines.Bytes()); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
