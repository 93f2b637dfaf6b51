//go:build linux

package main

import (
	"fmt"
	"strings"
)

// How each candidate is told the policy of a work; missing where it has none
// that does the same.
const missing = ""

var (
	nginxPolicies = map[string]string{roundRobin: ";", "least_connections": "least_conn;", "random": "random;",
		"power_of_two": "random two least_conn;", "consistent_hash": "hash $request_uri consistent;"}
	haproxyPolicies = map[string]string{roundRobin: "roundrobin", "least_connections": "leastconn", "random": "random(1)",
		"power_of_two": "random(2)", "consistent_hash": "uri\n  hash-type consistent"}
	steelyardPolicies = map[string]string{"consistent_hash": "{consistent_hash: {key: path}}", "maglev": "{maglev: {key: path}}"}
)

// temporary is where an nginx that root did not start may write.
func temporary(dir string) string {
	var b strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "%s_temp_path %s/%[1]s; ", kind, dir)
	}
	return b.String()
}

// lines repeats a format for each port.
func lines(format string, ports []int) string {
	var b strings.Builder
	for _, p := range ports {
		fmt.Fprintf(&b, format, p)
	}
	return b.String()
}

// when is the text if the condition holds.
func when(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

// backendConfig is the nginx that serves one file on every backend's port.
func backendConfig(dir string, workers int, ports []int) string {
	return fmt.Sprintf(`worker_processes %d; daemon off; pid %[2]s/nginx.pid; error_log %[2]s/nginx.log;
events { worker_connections 20000; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; default_type text/plain; server_tokens off;
  %[4]s
  server {
    root %[2]s/www;
%[3]s    location / { rewrite ^ /body break; open_file_cache max=10; open_file_cache_valid 1h; sendfile on; tcp_nopush on; }
  }
}
`, workers, dir, lines("    listen 127.0.0.1:%d backlog=8192;\n", ports), temporary(dir))
}

// nginxConfig is nginx as its experts tune it for this work, with the headers
// that Steelyard adds by default: upstream keep-alive, buffers that hold the
// bodies of these works without a temporary file, a buffered access log.
func nginxConfig(s setting) string {
	policy := nginxPolicies[s.policy]
	if s.sticky { // The open version has no sticky cookie; this is the nearest.
		policy = "hash $cookie_srv consistent;"
	}
	if policy == ";" {
		policy = ""
	}
	log := "access_log off;"
	if s.log {
		log = "access_log " + s.file("access.log") + " combined buffer=64k flush=1s;"
	}
	locations := "    location / { proxy_pass http://web; }\n"
	if s.routes > 1 {
		var b strings.Builder
		for i := range s.routes {
			fmt.Fprintf(&b, "    location /r%d/ { proxy_pass http://web; }\n", i)
		}
		locations = b.String()
	}
	return fmt.Sprintf(`worker_processes %d; daemon off; pid %s; error_log %s;
events { worker_connections 20000; }
http {
  %s server_tokens off;
  keepalive_requests 1000000000; keepalive_timeout 300s; %s
  client_body_buffer_size 256k; client_max_body_size 64m;
  proxy_buffer_size 16k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream web {
    %s
%s    keepalive %d; keepalive_requests 1000000000; keepalive_timeout 300s;
  }
  server {
    listen %s backlog=8192%s;
%s    proxy_http_version 1.1; proxy_read_timeout 300s; proxy_connect_timeout 30s;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Request-Id $request_id;
%s  }
}
`, len(s.cores), s.file("nginx.pid"), s.file("nginx.log"), log, temporary(s.dir), policy,
		lines("    server 127.0.0.1:%d;\n", s.backends), s.keep(), s.address(), when(s.tls, " ssl"),
		when(s.tls, fmt.Sprintf("    ssl_certificate %s; ssl_certificate_key %s; ssl_session_cache shared:s:10m; ssl_protocols TLSv1.2 TLSv1.3;\n",
			s.cert, s.key)), locations)
}

// haproxyFiles is HAProxy as its experts tune it: connections to servers are
// shared among clients, routes are a map, and lines of the access log go to a
// file descriptor instead of a syslog daemon, which would cost more.
func haproxyFiles(s setting) map[string]string {
	files := map[string]string{}
	route := "default_backend web"
	if s.routes > 1 {
		var b strings.Builder
		for i := range s.routes {
			fmt.Fprintf(&b, "/r%d/ web\n", i)
		}
		files["routes.map"] = b.String()
		route = "use_backend %[path,map_beg(" + s.file("routes.map") + ")]"
	}
	var servers strings.Builder
	for i, p := range s.backends {
		fmt.Fprintf(&servers, "  server b%d 127.0.0.1:%d%s\n", i, p, when(s.sticky, fmt.Sprint(" cookie b", i)))
	}
	policy := haproxyPolicies[s.policy]
	files["haproxy.cfg"] = fmt.Sprintf(`global
  nbthread %d
  maxconn %d
  maxpipes 256
  stats socket %s mode 600 expose-fd listeners
%sdefaults
  mode http
  timeout connect 30s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  timeout tunnel 1h
  http-reuse always
  option splice-auto
%sfrontend web
  bind %s backlog 8192%s
  option forwardfor
  http-request set-header X-Forwarded-Proto %%[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Host %%[req.hdr(host)]
  http-request set-header X-Request-Id %%[uuid]
  %s
backend web
  balance %s
%s%s`, len(s.cores), s.openFiles/2-500, s.file("haproxy.sock"), when(s.log, "  log stdout format raw local0\n"),
		when(s.log, "  log global\n  option httplog\n"), s.address(), when(s.tls, " ssl crt "+s.cert),
		route, policy, when(s.sticky, "  cookie SRV insert indirect nocache\n"), servers.String())
	return files
}

// caddyConfig is caddy with connections to backends kept, and without the
// compression of requests that its transport asks for by default.
func caddyConfig(s setting) string {
	policy := "round_robin"
	if s.sticky {
		policy = "cookie srv"
	}
	return fmt.Sprintf(`{
	admin 127.0.0.1:%d
	auto_https off
	log {
		level WARN
		exclude http.log.access
	}
	grace_period 1s
}
%s {
	bind 127.0.0.1
%s%s	reverse_proxy %s {
		lb_policy %s
		header_up X-Request-Id {http.request.uuid}
		transport http {
			compression off
			dial_timeout 30s
			keepalive 300s
			keepalive_idle_conns_per_host %d
		}
	}
}
`, s.adminPort, map[bool]string{true: "https", false: "http"}[s.tls]+fmt.Sprintf("://:%d", s.port),
		when(s.tls, fmt.Sprintf("\ttls %s %s\n", s.cert, s.key)),
		when(s.log, fmt.Sprintf("\tlog {\n\t\toutput file %s {\n\t\t\troll_disabled\n\t\t}\n\t}\n", s.file("access.log"))),
		strings.TrimSpace(lines("127.0.0.1:%d ", s.backends)), policy, s.keep())
}

// steelyardConfig has its defaults but for what the others are given too.
func steelyardConfig(s setting) string {
	var b strings.Builder
	// All of the load comes from one address.
	fmt.Fprintf(&b, "listeners:\n  web:\n    address: %s\n    max_connections_per_client: 100000\n", s.address())
	if s.tls {
		fmt.Fprintf(&b, "    tls: {certificates: [{cert: %s, key: %s}]}\n", s.cert, s.key)
	}
	b.WriteString("routes:\n")
	if s.routes == 1 {
		b.WriteString("  - {match: {path: /*}, pool: web}\n")
	} else {
		for i := range s.routes {
			fmt.Fprintf(&b, "  - {match: {path: /r%d/*}, pool: web}\n", i)
		}
	}
	policy := s.policy
	if long := steelyardPolicies[policy]; long != "" {
		policy = long
	}
	fmt.Fprintf(&b, "pools:\n  web:\n    policy: %s\n    keepalive: {max_idle: %d, idle_timeout: 300s}\n    backends:\n%s", policy, s.keep(),
		lines("      - 127.0.0.1:%d\n", s.backends))
	if s.sticky {
		b.WriteString("    sticky: {cookie: srv}\n")
	}
	// The same patience for all, since thousands of connections to backends take
	// a while where load and backends share a core. It changes with each reload:
	// unlike the others, Steelyard does nothing when told what it knows.
	fmt.Fprintf(&b, "    timeouts: {connect: %ds}\n", 30+s.edition%2)
	if s.log {
		fmt.Fprintf(&b, "access_log: {format: combined, to: %s}\n", s.file("access.log"))
	}
	return b.String()
}
