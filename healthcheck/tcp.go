package healthcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// maxAnswer is the most bytes of an answer in which TCP.Expect is looked for.
const maxAnswer = 64 << 10

// tcpProbe connects, and optionally says something and waits for an answer.
type tcpProbe struct {
	*connector
	send, expect []byte
}

func newTCPProbe(o *Options) (*tcpProbe, error) {
	conn, err := newConnector(o, "")
	if err != nil {
		return nil, err
	}
	return &tcpProbe{connector: conn, send: []byte(o.TCP.Send), expect: []byte(o.TCP.Expect)}, nil
}

// Run implements Probe.
func (p *tcpProbe) Run(ctx context.Context, address string) (int, error) {
	return runLingering(ctx, p, address)
}

func (p *tcpProbe) check(ctx context.Context, address string) (int, leaving, error) {
	at, err := locate(address, p.port)
	if err != nil {
		return 0, leaving{}, err
	}
	conn, release, err := p.connect(ctx, at)
	if err != nil {
		return 0, leaving{}, err
	}
	err = p.talk(ctx, conn)
	release()
	return 0, leaving{conn}, err
}

func (p *tcpProbe) talk(ctx context.Context, conn net.Conn) error {
	if len(p.send) > 0 {
		// What the peer said before it closed counts more than a failure to
		// write, if something is expected.
		if _, err := conn.Write(p.send); err != nil && len(p.expect) == 0 {
			return p.sendError(ctx, err)
		}
	}
	if len(p.expect) == 0 {
		return nil
	}
	var answer []byte
	chunk := make([]byte, 2048)
	for len(answer) < maxAnswer {
		n, err := conn.Read(chunk[:min(len(chunk), maxAnswer-len(answer))])
		from := max(0, len(answer)-len(p.expect)+1)
		answer = append(answer, chunk[:n]...)
		if bytes.Contains(answer[from:], p.expect) {
			return nil
		}
		if err != nil {
			return p.answerError(ctx, err, answer)
		}
	}
	return fmt.Errorf("expected %s, not within the first %d KiB of the answer, more is not read", shortQuote(string(p.expect)), maxAnswer>>10)
}

func (p *tcpProbe) sendError(ctx context.Context, err error) error {
	if timedOut(ctx, err) {
		return errors.New("could not send within " + p.timeout.String())
	}
	return errors.New(cause(err) + " while sending")
}

// answerError says what was expected, what has come and why no more has.
func (p *tcpProbe) answerError(ctx context.Context, err error, answer []byte) error {
	why := cause(err)
	switch {
	case timedOut(ctx, err):
		why = "no more came within " + p.timeout.String()
		if len(answer) == 0 {
			why = "no answer within " + p.timeout.String()
		}
	case isEOF(err):
		why = "connection closed"
	case errors.Is(err, syscall.ECONNRESET):
		why = "connection reset"
	}
	if len(answer) == 0 {
		why += ", expected " + shortQuote(string(p.expect))
		if timedOut(ctx, err) {
			return silence(why)
		}
		return errors.New(why)
	}
	return errors.New("expected " + shortQuote(string(p.expect)) + ", got " + excerpt(answer) + "; " + why)
}
