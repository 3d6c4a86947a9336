// Keep-alive load over CONNECT and TLS, which wrk and hey cannot make without being the bottleneck themselves:
// prebuilt requests, one goroutine a connection, heads scanned in place. Prints one JSON object.
//
//	connect -proxy 127.0.0.1:3128 -url https://api.tickets.example/v2/item -ca ca.pem -connections 32 -seconds 5
//
// Without -proxy it dials -dial (or the URL's own authority). An http URL goes to the proxy in absolute form.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var stopped int32 // set by SIGTERM: report what there is

const patience = 10 * time.Second // for one exchange or one connection

type plan struct {
	proxy, dial, authority string
	tunnel, fresh          bool
	tls                    *tls.Config
	request, connect       []byte
	interval               time.Duration
	target                 *url.URL
	header                 http.Header
}

type tally struct {
	Requests   int     `json:"requests"`
	Errors     int     `json:"errors"`
	Refused    int     `json:"refused"`
	FirstError string  `json:"first_error"`
	Seconds    float64 `json:"seconds"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	Max        float64 `json:"max_us"`
	micros     []float64
}

func (t *tally) fail(err error) {
	t.Errors++
	if t.FirstError == "" {
		t.FirstError = err.Error()
	}
}

type connection struct {
	net.Conn
	reader *bufio.Reader
}

// open dials, asks for the tunnel where one is due, and shakes hands.
func (p *plan) open() (*connection, error) {
	raw, err := net.DialTimeout("tcp", p.dial, patience)
	if err != nil {
		return nil, err
	}
	raw.SetDeadline(time.Now().Add(patience))
	if p.tunnel {
		if _, err = raw.Write(p.connect); err == nil {
			err = tunnelAnswer(raw)
		}
		if err != nil {
			raw.Close()
			return nil, err
		}
	}
	conn := raw
	if p.tls != nil {
		secured := tls.Client(raw, p.tls)
		if err = secured.Handshake(); err != nil {
			raw.Close()
			return nil, err
		}
		conn = secured
	}
	return &connection{conn, bufio.NewReaderSize(conn, 16*1024)}, nil
}

// tunnelAnswer reads the head of the answer to CONNECT and nothing beyond it.
func tunnelAnswer(raw net.Conn) error {
	head := make([]byte, 0, 512)
	piece := make([]byte, 1)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if len(head) > 8192 {
			return errors.New("the answer to CONNECT has no end")
		}
		if _, err := raw.Read(piece); err != nil {
			return err
		}
		head = append(head, piece[0])
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) && !bytes.HasPrefix(head, []byte("HTTP/1.0 200")) {
		return fmt.Errorf("CONNECT was answered %q", strings.SplitN(string(head), "\r\n", 2)[0])
	}
	return nil
}

// exchange sends the request and reads one whole response; status 0 comes with an error.
func (c *connection) exchange(request []byte) (status int, closing bool, err error) {
	c.SetDeadline(time.Now().Add(patience))
	if _, err = c.Write(request); err != nil {
		return 0, true, err
	}
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, true, err
	}
	if len(line) < 12 {
		return 0, true, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, true, err
	}
	length, chunked := 0, false
	for {
		if line, err = c.reader.ReadSlice('\n'); err != nil {
			return 0, true, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return 0, true, fmt.Errorf("header line %q", line)
		}
		name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, true, err
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("connection")) && bytes.EqualFold(value, []byte("close")):
			closing = true
		}
	}
	if chunked {
		return 0, true, errors.New("a chunked answer where the origin sent a length")
	}
	_, err = c.reader.Discard(length)
	return status, closing, err
}

// drive runs one connection's share until the deadline.
func (p *plan) drive(deadline time.Time, t *tally) {
	var conn *connection
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	next := time.Now()
	for {
		if p.interval > 0 {
			time.Sleep(time.Until(next))
			// a turn that was missed is left out: a burst afterwards would hide the delay among quick answers
			if next = next.Add(p.interval); next.Before(time.Now()) {
				next = time.Now()
			}
		}
		begin := time.Now()
		if begin.After(deadline) || atomic.LoadInt32(&stopped) != 0 {
			return
		}
		var err error
		if conn == nil {
			if conn, err = p.open(); err != nil {
				t.fail(err)
				time.Sleep(time.Millisecond)
				continue
			}
			if !p.fresh {
				begin = time.Now()
			}
		}
		status, closing, err := conn.exchange(p.request)
		if err != nil {
			t.fail(err)
		} else if status != 200 {
			t.Refused++
		} else {
			t.Requests++
			t.micros = append(t.micros, float64(time.Since(begin).Nanoseconds())/1000)
		}
		if err != nil || closing || p.fresh {
			conn.Close()
			conn = nil
		}
	}
}

func (p *plan) keepAlive(connections int, deadline time.Time) []tally {
	parts := make([]tally, connections)
	var group sync.WaitGroup
	for index := range parts {
		group.Add(1)
		go func(part *tally) { defer group.Done(); p.drive(deadline, part) }(&parts[index])
	}
	group.Wait()
	return parts
}

func at(sorted []float64, quantile float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(quantile*float64(len(sorted)-1)+0.5)]
}

func merge(parts []tally, seconds float64) tally {
	total := tally{Seconds: seconds}
	for _, part := range parts {
		total.Requests += part.Requests
		total.Errors += part.Errors
		total.Refused += part.Refused
		if total.FirstError == "" {
			total.FirstError = part.FirstError
		}
		total.micros = append(total.micros, part.micros...)
	}
	sort.Float64s(total.micros)
	total.P50, total.P99, total.Max = at(total.micros, 0.5), at(total.micros, 0.99), at(total.micros, 1)
	return total
}

func (p *plan) prepare(target *url.URL, header, ca string) error {
	port := target.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[target.Scheme]
	}
	p.authority = net.JoinHostPort(target.Hostname(), port)
	if p.dial == "" {
		p.dial = p.authority
	}
	form := target.RequestURI()
	if p.proxy != "" {
		p.dial = p.proxy
		p.tunnel = target.Scheme == "https"
		if !p.tunnel {
			form = target.String()
		}
	}
	p.target, p.header = target, http.Header{}
	if name, value, found := strings.Cut(header, ":"); found {
		p.header.Set(name, strings.TrimSpace(value))
	}
	if header != "" {
		header += "\r\n"
	}
	p.connect = []byte("CONNECT " + p.authority + " HTTP/1.1\r\nHost: " + p.authority + "\r\n\r\n")
	p.request = []byte("GET " + form + " HTTP/1.1\r\nHost: " + target.Host + "\r\n" + header + "\r\n")
	if target.Scheme != "https" {
		return nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", ca)
	}
	p.tls = &tls.Config{RootCAs: roots, ServerName: target.Hostname(), NextProtos: []string{"http/1.1"}}
	return nil
}

func main() {
	p := &plan{}
	flag.StringVar(&p.proxy, "proxy", "", "host:port of the proxy; empty: none")
	flag.StringVar(&p.dial, "dial", "", "host:port to dial without a proxy, instead of the URL's")
	address := flag.String("url", "", "http or https URL")
	ca := flag.String("ca", "", "PEM file of the roots to trust")
	header := flag.String("header", "", "one header line to send")
	connections := flag.Int("connections", 1, "connections held at a time")
	seconds := flag.Float64("seconds", 5, "how long")
	rate := flag.Float64("rate", 0, "requests per second and connection; 0: as fast as it goes")
	streams := flag.Int("streams", 0, "exchanges at a time on each connection, by HTTP/2 (https only); 0: HTTP/1.1")
	flag.BoolVar(&p.fresh, "new", false, "a new connection for each request")
	flag.Parse()
	target, err := url.Parse(*address)
	if err == nil {
		err = p.prepare(target, *header, *ca)
	}
	if err == nil && *streams > 0 && p.tls == nil {
		err = errors.New("-streams needs an https URL")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if *rate > 0 {
		p.interval = time.Duration(float64(time.Second) / *rate)
	}
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM)
	go func() { <-ending; atomic.StoreInt32(&stopped, 1) }()
	begin := time.Now()
	deadline := begin.Add(time.Duration(*seconds * float64(time.Second)))
	var parts []tally
	if *streams > 0 {
		p.tls.NextProtos = []string{"h2", "http/1.1"}
		parts = p.multiplex(*connections, *streams, deadline)
	} else {
		parts = p.keepAlive(*connections, deadline)
	}
	total := merge(parts, time.Since(begin).Seconds())
	out, err := json.Marshal(total)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	io.WriteString(os.Stdout, string(out)+"\n")
}
