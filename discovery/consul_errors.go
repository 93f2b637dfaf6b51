package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/hashicorp/consul/api"
)

// errHidden stands for an empty answer from which access rules removed all.
var errHidden = errors.New("Consul hides all instances")

// plain is an error of an agent in words that are the same whenever it happens
// again: without the ports of connections that come and go.
func plain(err error) string {
	var status api.StatusError
	var name *net.DNSError
	var op *net.OpError
	var call *os.SyscallError
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	var request *url.Error
	switch {
	case errors.As(err, &status):
		return clip(fmt.Sprintf("it answered %d %s: %s", status.Code, http.StatusText(status.Code), firstLine(status.Body)))
	case isTimeout(err):
		return "it did not answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it closed the connection"
	case errors.As(err, &name):
		return fmt.Sprintf("its name %s does not resolve (%s)", name.Name, name.Err)
	case errors.As(err, &call):
		return call.Err.Error()
	case errors.As(err, &op):
		return clip(op.Err.Error())
	case errors.As(err, &syntax), errors.As(err, &wrongType):
		return "its answer is not what Consul answers"
	case errors.As(err, &request):
		return clip(request.Err.Error())
	}
	return clip(err.Error())
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// agentsFault reports whether an error may mean that the agent is of no use,
// rather than that it does not like the query.
func agentsFault(err error) bool {
	var status api.StatusError
	if errors.As(err, &status) {
		return status.Code >= 500
	}
	return !errors.Is(err, errHidden)
}

func refused(err error) bool {
	var status api.StatusError
	return errors.Is(err, errHidden) ||
		errors.As(err, &status) && (status.Code == http.StatusForbidden || status.Code == http.StatusUnauthorized)
}

// aboutFilter recognises what Consul says of a filter, with status 500.
func aboutFilter(body string) bool {
	return strings.Contains(body, "boolean expression") || strings.Contains(body, "filter") || strings.Contains(body, "elector")
}

// queryError says what an error means for a query, and what to do.
func queryError(err error, q ConsulQuery, agent string, t *token) error {
	var status api.StatusError
	needs := fmt.Sprintf("service %s needs service:read and node:read; set consul.token or consul.token_file", q.Service)
	if trouble := t.trouble(); trouble != "" {
		needs += " (" + trouble + ")"
	}
	switch {
	case errors.Is(err, errHidden) && t.get() == "":
		return fmt.Errorf("%w from requests without a token: %s", errHidden, needs)
	case errors.Is(err, errHidden):
		return fmt.Errorf("%w from this token: %s", errHidden, needs)
	case !errors.As(err, &status):
		return fmt.Errorf("agent %s: %s", agent, plain(err))
	case refused(err) && t.get() == "":
		return fmt.Errorf("Consul wants a token (%d: %s): %s", status.Code, clip(firstLine(status.Body)), needs)
	case refused(err):
		return fmt.Errorf("Consul refused the token (%d: %s): %s", status.Code, clip(firstLine(status.Body)), needs)
	case status.Code == http.StatusTooManyRequests:
		return fmt.Errorf("agent %s refuses more requests (429: %s): lower consul.max_connections, or raise limits.http_max_conns_per_client of the agent",
			agent, clip(firstLine(status.Body)))
	case q.Filter != "" && aboutFilter(status.Body):
		return fmt.Errorf("Consul does not understand the filter %q (%d: %s): mend filter", clip(q.Filter), status.Code, clip(firstLine(status.Body)))
	case strings.Contains(status.Body, "No path to datacenter"):
		return fmt.Errorf("Consul knows no way to the datacenter %q: mend datacenter, or see consul members -wan", q.Datacenter)
	case status.Code == http.StatusBadRequest:
		return fmt.Errorf("Consul does not take the query (400: %s): mend namespace, partition, near or tag", clip(firstLine(status.Body)))
	}
	return fmt.Errorf("agent %s: %s; its log says more", agent, plain(err))
}
