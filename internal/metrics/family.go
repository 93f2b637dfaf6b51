package metrics

import "github.com/prometheus/client_golang/prometheus"

// family is one metric of the Prometheus endpoint, as docs/metrics.md lists it.
type family struct {
	name, kind, help string
	labels           []string
	desc             *prometheus.Desc
	value            prometheus.ValueType
}

// families lists all of them, in the order of the documentation.
var families []*family

func newFamily(kind string, value prometheus.ValueType, name, help string, labels []string) *family {
	f := &family{name: "steelyard_" + name, kind: kind, help: help, labels: labels, value: value}
	f.desc = prometheus.NewDesc(f.name, help, labels, nil)
	families = append(families, f)
	return f
}

func counter(name, help string, labels ...string) *family {
	return newFamily("counter", prometheus.CounterValue, name, help, labels)
}

func gauge(name, help string, labels ...string) *family {
	return newFamily("gauge", prometheus.GaugeValue, name, help, labels)
}

func histogram(name, help string, labels ...string) *family {
	return newFamily("histogram", prometheus.UntypedValue, name, help, labels)
}

// What there is. Names follow Prometheus' conventions: base units, _total for
// counters. Labels come from the configuration and from memberships alone, never
// from what clients send.
var (
	buildInfo = gauge("build_info", "Always 1; the labels say what runs.", "version", "goversion")

	generationID   = gauge("config_generation", "Number of the configuration in force; 1 is that of the start.")
	generationTime = gauge("config_generation_timestamp_seconds", "When the configuration in force was taken over.")
	reloadOK       = gauge("config_last_reload_successful", "Whether the last reload was taken over; 1 before the first.")
	reloadTime     = gauge("config_last_reload_timestamp_seconds", "When a reload was tried last; 0 before the first.")
	reloads        = counter("config_reloads_total", "Reloads by result: success, failure.", "result")
	rollbacks      = counter("config_rollbacks_total", "Reloads that were undone because errors rose.")

	listenerConnections = gauge("listener_connections", "Connections of clients that are open.", "listener", "address")
	listenerAccepted    = counter("listener_connections_accepted_total", "Connections of clients that were accepted.", "listener", "address")
	listenerLimit       = gauge("listener_connections_limit", "Connections of clients that there may be at once, by max_connections and by how many files may be open.", "listener", "address")
	listenerRejected    = counter("listener_connections_rejected_total", "Connections of clients that were not let in, by the limit that was reached; see limits.md.", "listener", "address", "reason")

	tlsHandshakes = counter("listener_tls_handshakes_total", "TLS handshakes that went well, by version (1.2, 1.3) and by whether a session was resumed.", "listener", "address", "version", "resumed")
	tlsFailures   = counter("listener_tls_handshake_failures_total", "TLS handshakes that failed, by reason; see tls.md.", "listener", "address", "reason")
	tlsExpiry     = gauge("tls_certificate_expiry_timestamp_seconds", "When a certificate that is shown to clients expires.", "listener", "file")
	tlsProblem    = gauge("tls_certificate_problem", "Whether the files of a certificate cannot be used as they are now, so that the one before is shown.", "listener", "file")
	tlsStaple     = gauge("tls_ocsp_staple_expiry_timestamp_seconds", "Until when the OCSP response holds that is stapled to a certificate; those without one have no such metric.", "listener", "file")

	routeResponses = counter("route_responses_total", "Responses of a route by class of their status; none: the client left, or the response was cut.", "route", "class")
	routeRefused   = counter("route_refused_total", "Requests that a route did not let in, by reason: a cause of errors.md.", "route", "reason")
	rateMemory     = gauge("rate_limit_memory_bytes", "Memory of all rate limits, at most 64 MiB.")
	rateForgotten  = counter("rate_limit_forgotten_total", "Keys of rate limits that were forgotten before their time, because there were too many.")
	errorsMade     = counter("errors_total", "Errors that Steelyard made itself, by cause, see errors.md, and by pool; without one if none was found.", "pool", "cause")
	retriesMade    = counter("retries_total", "Attempts that repeated one, by what the backend could know of that (class) and what had become of it (reason).", "class", "reason")
	accessLines    = counter("access_log_lines_total", "Lines of the access log by result: written, dropped because the buffer was full, failed to be written.", "result")

	poolRequests   = counter("pool_requests_total", "Requests that came to a pool.", "pool")
	poolResponses  = counter("pool_responses_total", "What clients of a pool got, by class of the status, errors of Steelyard included.", "pool", "class")
	poolLatency    = histogram("pool_latency_seconds", "Time from the first byte of a request to the end of its response.", "pool")
	poolAttempts   = counter("pool_attempts_total", "Tries on backends; more than the requests by what was repeated.", "pool")
	poolDenied     = counter("pool_retries_denied_total", "Retries that the retry budget did not allow.", "pool")
	poolWaiting    = gauge("pool_queue_requests", "Requests that wait in the queue.", "pool")
	poolQueueWait  = histogram("pool_queue_wait_seconds", "How long requests waited in the queue, of those that had to.", "pool")
	poolLimit      = gauge("pool_in_flight_limit", "Requests that a pool may have at once, by limit: max_in_flight, adaptive.", "pool", "limit")
	poolInFlight   = gauge("pool_in_flight_requests", "Requests that count for a limit of their pool: all of them for max_in_flight, those without a response head for adaptive.", "pool", "limit")
	poolBase       = gauge("pool_base_latency_seconds", "How long an answer takes without a queue, as the adaptive limit has found; 0 while it is not known.", "pool")
	poolBackends   = gauge("pool_backends", "Backends by state.", "pool", "state")
	poolUsable     = gauge("pool_usable_backends", "Backends that get new requests.", "pool")
	poolEjections  = counter("pool_ejections_total", "Backends taken out by what traffic saw.", "pool")
	poolFailOpen   = gauge("pool_fail_open", "Whether no backend is healthy and all are used.", "pool")
	poolFailOpens  = counter("pool_fail_opens_total", "How often no backend was healthy and all were used.", "pool")
	poolFailOpened = counter("pool_fail_open_requests_total", "Requests at times when no backend was healthy and all were used.", "pool")

	sourceMembers = gauge("source_members", "Members that a source names, or named last, and that count.", "pool", "source")
	sourceFailing = gauge("source_failing", "Whether a source cannot answer; its members stay.", "pool", "source")
	sourceHeld    = gauge("source_held_members", "Members that their source does not name any more and the guard keeps.", "pool", "source")

	backendUp         = gauge("backend_up", "Whether a backend gets new requests.", "pool", "backend")
	backendState      = gauge("backend_state", "Always 1; the label state has the state of this moment.", "pool", "backend", "state")
	backendWeight     = gauge("backend_weight", "Weight that is wanted.", "pool", "backend")
	backendRatio      = gauge("backend_weight_ratio", "Share of its weight that a backend gets now, 0 to 1.", "pool", "backend")
	backendInFlight   = gauge("backend_in_flight_requests", "Requests that a backend has now.", "pool", "backend")
	backendConns      = gauge("backend_connections", "Connections to a backend by state: busy, idle.", "pool", "backend", "state")
	backendBound      = gauge("backend_bound_sessions", "Clients that are bound to a backend, of pools that bind by header or address.", "pool", "backend")
	backendUpgraded   = gauge("backend_upgraded_connections", "Connections to a backend that were upgraded, as to WebSocket.", "pool", "backend")
	backendDials      = counter("backend_dials_total", "Connections that were made to a backend.", "pool", "backend")
	backendAttempts   = counter("backend_attempts_total", "Attempts on a backend that ended.", "pool", "backend")
	backendFailures   = counter("backend_failures_total", "Attempts on a backend that ended in a way that speaks against it.", "pool", "backend")
	backendResponses  = counter("backend_responses_total", "Responses of a backend by class of their status.", "pool", "backend", "class")
	backendFirstByte  = histogram("backend_first_byte_seconds", "Time from the start of an attempt to the first byte of its response.", "pool", "backend")
	backendChecks     = counter("backend_checks_total", "Checks of a backend by result: passed, failed.", "pool", "backend", "result")
	backendCheckTime  = gauge("backend_check_duration_seconds", "How long the last check of a backend took.", "pool", "backend")
	backendsNotListed = gauge("backends_not_listed", "Backends without metrics of their own, because there are more than 2,500.")
)
