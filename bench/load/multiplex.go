// HTTP/2 through CONNECT, which h2load cannot ask for: each connection has a transport of its own, and on it as many
// exchanges at a time as there are streams. The library's client costs some 30 us an exchange, the same for everybody.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

var errNotChosen = errors.New("the peer did not choose h2 by ALPN")

// transport holds one connection: MaxConnsPerHost lets no second one be dialled.
func (p *plan) transport() *http.Transport {
	return &http.Transport{
		ForceAttemptHTTP2:  true,
		MaxConnsPerHost:    1,
		DisableCompression: true,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			opened, err := p.open()
			if err != nil {
				return nil, err
			}
			opened.SetDeadline(time.Time{})
			conn := opened.Conn.(*tls.Conn)
			if conn.ConnectionState().NegotiatedProtocol != "h2" {
				conn.Close()
				return nil, errNotChosen
			}
			return conn, nil
		},
	}
}

func (p *plan) multiplex(connections, streams int, deadline time.Time) []tally {
	parts := make([]tally, connections*streams)
	var group sync.WaitGroup
	for connection := 0; connection < connections; connection++ {
		transport := p.transport()
		defer transport.CloseIdleConnections()
		// the first exchange settles that there is one connection before many streams ask for one
		if err := p.ask(&http.Client{Transport: transport, Timeout: patience}, &parts[connection*streams]); err != nil {
			continue
		}
		for stream := 0; stream < streams; stream++ {
			group.Add(1)
			go func(part *tally) {
				defer group.Done()
				client := &http.Client{Transport: transport, Timeout: patience}
				for time.Now().Before(deadline) && atomic.LoadInt32(&stopped) == 0 {
					p.ask(client, part)
				}
			}(&parts[connection*streams+stream])
		}
	}
	group.Wait()
	return parts
}

func (p *plan) ask(client *http.Client, t *tally) error {
	begin := time.Now()
	response, err := client.Do(&http.Request{Method: "GET", URL: p.target, Header: p.header})
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	switch {
	case err != nil:
		t.fail(err)
		time.Sleep(time.Millisecond)
	case response.ProtoMajor != 2:
		err = fmt.Errorf("answered by %s", response.Proto)
		t.fail(err)
	case response.StatusCode != 200:
		t.Refused++
	default:
		t.Requests++
		t.micros = append(t.micros, float64(time.Since(begin).Nanoseconds())/1000)
	}
	return err
}
