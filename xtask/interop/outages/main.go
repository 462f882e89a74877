// Polls and starts tasks with grpc-go as Flyte's executor does, while the connector server is killed and restarted.
//
// usage: outages <connector-server> <service config>
//
// The service config is that of docs/deploy.md. All times of the executor, of gRPC's reconnects and of the outages are
// divided by scale. The environment configures the server.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	scale     = 25
	resync    = 30 * time.Second / scale
	shortTime = 20 * time.Second / scale
	longTime  = 600 * time.Second / scale
	// GetTask errors after which an attempt is still polled.
	maxFailures = 5
	service     = "/flyteidl2.connector.AsyncConnectorService/"
	succeeded   = 3
)

// A configuration of the executor and an outage, with what becomes of a running task and of one started meanwhile.
type scenario struct {
	name        string
	timeout     time.Duration
	away        time.Duration
	wantRunning string
	wantStarted string
}

var scenarios = []scenario{
	{"defaultTimeout 20s, away for 46 s", shortTime, 46 * time.Second / scale, "SUCCEEDED", "DeadlineExceeded"},
	{"defaultTimeout 20s, away for 250 s", shortTime, 250 * time.Second / scale, "frozen", "DeadlineExceeded"},
	{"defaultTimeout 600s, away for 243 s", longTime, 243 * time.Second / scale, "SUCCEEDED", "created"},
}

func main() {
	for _, scenario := range scenarios {
		running, started, err := scenario.play(os.Args[1], os.Args[2])
		if err != nil {
			fmt.Printf("FAIL %s: %v\n", scenario.name, err)
			continue
		}
		check(scenario.name+": the running task", running, scenario.wantRunning)
		check(scenario.name+": the task started meanwhile", started, scenario.wantStarted)
	}
}

func check(claim, found, wanted string) {
	if found == wanted {
		fmt.Printf("pass %s: %s\n", claim, found)
	} else {
		fmt.Printf("FAIL %s: found %s, expected %s\n", claim, found, wanted)
	}
}

func (s scenario) play(program, config string) (running, started string, err error) {
	port, err := freePort()
	if err != nil {
		return "", "", err
	}
	server, err := startServer(program, port)
	if err != nil {
		return "", "", err
	}
	defer func() { stop(server) }()
	connection, err := grpc.NewClient(
		"dns:///127.0.0.1:"+port,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(config),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay:  time.Second / scale,
				Multiplier: 1.6,
				Jitter:     0.2,
				MaxDelay:   120 * time.Second / scale,
			},
			MinConnectTimeout: 20 * time.Second,
		}),
	)
	if err != nil {
		return "", "", err
	}
	defer connection.Close()
	// The server starts meanwhile.
	meta, err := create(connection, 30*time.Second, s.name)
	if err != nil {
		return "", "", fmt.Errorf("CreateTask: %w", err)
	}
	if phase, err := get(connection, s.timeout, meta); err != nil || phase == succeeded {
		return "", "", fmt.Errorf("GetTask before the outage: phase %d, %w", phase, err)
	}
	polled := make(chan string, 1)
	go func() { polled <- poll(connection, s.timeout, meta) }()

	stop(server)
	created := make(chan string, 1)
	go func() {
		_, err := create(connection, s.timeout, s.name+", started meanwhile")
		if err != nil {
			created <- status.Code(err).String()
		} else {
			created <- "created"
		}
	}()
	<-time.After(s.away)
	if server, err = startServer(program, port); err != nil {
		return "", "", err
	}
	return <-polled, <-created, nil
}

// Polls at fixed intervals until the task has ended or too many polls have failed.
func poll(connection *grpc.ClientConn, timeout time.Duration, meta []byte) string {
	ticks := time.NewTicker(resync)
	defer ticks.Stop()
	for failures := 0; failures <= maxFailures; <-ticks.C {
		phase, err := get(connection, timeout, meta)
		switch {
		case err != nil:
			failures++
		case phase == succeeded:
			return "SUCCEEDED"
		}
	}
	return "frozen"
}

func create(connection *grpc.ClientConn, timeout time.Duration, name string) ([]byte, error) {
	custom, err := structpb.NewStruct(map[string]any{
		"databricksConf": map[string]any{
			"run_name":            "outage",
			"existing_cluster_id": "0801-120000-abcdefgh",
			"notebook_task":       map[string]any{"notebook_path": "/a"},
		},
	})
	if err != nil {
		return nil, err
	}
	encoded, err := proto.Marshal(custom)
	if err != nil {
		return nil, err
	}
	template := field(field(nil, 2, []byte("databricks")), 5, encoded)
	// Distinguishes the tasks.
	request := field(field(nil, 2, template), 3, []byte("s3://outages/"+name))
	response, err := call(connection, timeout, "CreateTask", request)
	if err != nil {
		return nil, err
	}
	return find(response, 1)
}

// Returns the number of the task's phase.
func get(connection *grpc.ClientConn, timeout time.Duration, meta []byte) (uint64, error) {
	category := field(nil, 1, []byte("databricks"))
	response, err := call(connection, timeout, "GetTask", field(field(nil, 2, meta), 3, category))
	if err != nil {
		return 0, err
	}
	resource, err := find(response, 1)
	if err != nil {
		return 0, err
	}
	phase, err := find(resource, 5)
	if err != nil {
		return 0, err
	}
	number, _ := protowire.ConsumeVarint(phase)
	return number, nil
}

func call(connection *grpc.ClientConn, timeout time.Duration, method string, request []byte) ([]byte, error) {
	context, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var response []byte
	err := connection.Invoke(context, service+method, request, &response, grpc.ForceCodec(bytesCodec{}))
	if err != nil && status.Code(err) != codes.DeadlineExceeded {
		fmt.Printf("     %s: %v\n", method, err)
	}
	return response, err
}

// Passes encoded messages through.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(message any) ([]byte, error) { return message.([]byte), nil }

func (bytesCodec) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// Appends a field with bytes.
func field(message []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(message, number, protowire.BytesType), value)
}

// Returns the content of a field: bytes, or an encoded number.
func find(message []byte, wanted protowire.Number) ([]byte, error) {
	for len(message) > 0 {
		number, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			return nil, protowire.ParseError(length)
		}
		message = message[length:]
		length = protowire.ConsumeFieldValue(number, kind, message)
		if length < 0 {
			return nil, protowire.ParseError(length)
		}
		if number == wanted {
			if kind == protowire.BytesType {
				value, _ := protowire.ConsumeBytes(message)
				return value, nil
			}
			return message[:length], nil
		}
		message = message[length:]
	}
	return nil, fmt.Errorf("the response has no field %d", wanted)
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}

func startServer(program, port string) (*exec.Cmd, error) {
	server := exec.Command(program, "--host", "127.0.0.1", "--port", port, "--prometheus-port", "0")
	return server, server.Start()
}

// Kills the server, unless it was killed before.
func stop(server *exec.Cmd) {
	if err := server.Process.Kill(); err == nil || !errors.Is(err, os.ErrProcessDone) {
		server.Wait()
	}
}
