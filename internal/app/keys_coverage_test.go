package app

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"steelyard/config"
)

// TestEveryKeyIsShown holds the house rule: a key that is accepted is shown
// working end to end by some test. A new key needs a case of keyCase, or a
// scenario in test/ that stands in shownElsewhere.
func TestEveryKeyIsShown(t *testing.T) {
	shown := map[string]string{}
	for _, cases := range [][]keyCase{checkKeyCases(), outlierKeyCases(), drainKeyCases(), adminKeyCases(), consulKeyCases(), sourceKeyCases(), olderKeyCases(), accessKeyCases()} {
		for _, c := range cases {
			if len(c.keys) == 0 {
				t.Errorf("case %q names no key", c.name)
			}
			for _, key := range c.keys {
				shown[key] = c.name
			}
		}
	}
	for _, by := range shownElsewhere {
		text, err := os.ReadFile(by.file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\nfunc "+by.test+"(t *testing.T)") {
			t.Errorf("there is no %s in %s", by.test, by.file)
		}
		for _, key := range by.keys {
			if other, twice := shown[key]; twice {
				t.Errorf("%s is said to be shown by %s and by %s", key, other, by.test)
			}
			// The name of the key must at least be there; rougher than reading the test.
			name := key[strings.LastIndexByte(key, '.')+1:]
			name = strings.TrimSuffix(name, "[]")
			if !regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).Match(text) {
				t.Errorf("%s, which is said to show %s, does not have the word %s", by.file, key, name)
			}
			shown[key] = by.test
		}
	}
	var known []string
	for _, k := range config.Keys() {
		known = append(known, k.Path)
		if shown[k.Path] == "" {
			t.Errorf("no test shows the key %s working: add a case for it", k.Path)
		}
	}
	for key, by := range shown {
		if !slices.Contains(known, key) {
			t.Errorf("%s shows %s, which is no key", by, key)
		}
	}
}

// shownElsewhere are keys that other tests show from a file to the wire.
var shownElsewhere = []struct {
	test, file string
	keys       []string
}{
	{"TestStartServesAndStopLeavesNothing", "app_test.go", []string{"listeners", "listeners.<name>.address", "routes", "routes[].pool", "pools", "pools.<name>.backends"}},
	{"TestKeysReachTheWire", "keys_test.go", slices.Concat(
		prefixed("listeners.<name>.", []string{"max_body_size", "max_header_size", "header_timeout", "body_timeout", "idle_timeout"}),
		prefixed("routes[].", []string{"host", "rewrite", "rewrite.strip_prefix", "rewrite.replace_prefix", "rewrite.replace_prefix.from", "rewrite.replace_prefix.to",
			"rewrite.regex", "rewrite.regex.from", "rewrite.regex.to", "request_headers", "response_headers"}),
		ofPool("timeouts", "timeouts.response", "timeouts.body", "retry.on", "retry.methods"),
		[]string{"trusted_proxies", "forwarded.standard"})},
	{"TestOnlyWhatMayBeRepeatedIsRepeated", scenario("failure/keepalive_test.go"), ofPool("retry.attempts")},
	{"TestUpgradeTimeoutClosesTheSilentOnly", scenario("websocket/websocket_test.go"), []string{"listeners.<name>.upgrade_timeout"}},
	{"TestConnectionsBeyondTheLimitGetAnAnswer", scenario("limits/connections_test.go"), []string{"listeners.<name>.max_connections"}},
	{"TestOneAddressCannotTakeAll", scenario("limits/connections_test.go"), []string{"listeners.<name>.max_connections_per_client"}},
	{"TestWhenFullTheKernelKeepsThem", scenario("limits/connections_test.go"), []string{"listeners.<name>.when_full"}},
	{"TestHeadsWithinLimits", scenario("limits/requests_test.go"), prefixed("listeners.<name>.", []string{"max_requests", "max_header_fields", "max_target_length"})},
	{"TestSlowBodies", scenario("limits/slow_test.go"), []string{"listeners.<name>.min_body_rate"}},
	{"TestSlowReaders", scenario("limits/slow_test.go"), []string{"listeners.<name>.min_response_rate"}},
	{"TestHandshakesTakeTurns", scenario("limits/handshakes_test.go"), []string{"listeners.<name>.max_handshakes"}},
	{"TestPathPolicies", scenario("wire/paths_test.go"), []string{"paths"}},
	{"TestReadinessEndsBeforeTheService", scenario("admin/ready_test.go"), []string{"shutdown_delay"}},
	{"TestShutdownTimeoutBoundsTheStop", scenario("shutdown/shutdown_test.go"), []string{"shutdown_timeout"}},
	{"TestTheMostSpecificRouteTakesTheRequest", scenario("routing/routing_test.go"),
		prefixed("routes[].", []string{"match", "match.host", "match.path", "match.method", "match.headers", "match.query"})},
	{"TestRedirectsAndFixedResponses", scenario("routing/routing_test.go"),
		prefixed("routes[].", []string{"redirect", "redirect.to", "redirect.status", "respond", "respond.status", "respond.body", "respond.headers"})},
	{"TestRewritesAndHeaderOperations", scenario("routing/routing_test.go"), slices.Concat([]string{"routes[].name"},
		prefixed("routes[].request_headers.", []string{"set", "add", "remove"}), prefixed("routes[].response_headers.", []string{"set", "add", "remove"}))},
	{"TestCanaryGetsItsShare", scenario("balance/policy_test.go"), prefixed("routes[].split", []string{"", ".to[].pool", ".to[].weight"})},
	{"TestAStickySplitKeepsAClientInItsPool", scenario("balance/policy_test.go"), prefixed("routes[].split.", []string{"to", "sticky"})},
	{"TestEachPolicyIsChosenFromYAML", scenario("balance/policy_test.go"), ofPool("policy", "policy.round_robin", "policy.least_connections", "policy.power_of_two",
		"policy.random", "policy.least_time", "policy.consistent_hash", "policy.consistent_hash.key", "policy.maglev", "policy.maglev.key")},
	{"TestHashTableKeys", "older_keys_test.go", ofPool("policy.consistent_hash.replicas", "policy.maglev.table_size")},
	{"TestRoundRobinSharesFollowWeights", scenario("balance/policy_test.go"), ofPool("backends[].address", "backends[].weight")},
	{"TestBackupServesOnlyWhenNoPrimaryCan", scenario("balance/limit_test.go"), ofPool("backends[].backup")},
	{"TestMaxConnectionsIsNeverExceededAndTheQueueServesTheRest", scenario("balance/limit_test.go"), ofPool("backends[].max_connections")},
	{"TestMaxInFlight", scenario("overload/adaptive_test.go"), ofPool("max_in_flight")},
	{"TestTwiceTheLoadIsAnsweredAsFarAsTheAppCan", scenario("overload/adaptive_test.go"), ofPool("adaptive_limit")},
	{"TestAdaptiveLimitKeepsWithinItsBounds", scenario("overload/adaptive_test.go"), ofPool("adaptive_limit.min", "adaptive_limit.max", "adaptive_limit.tolerance")},
	{"TestFullQueueAnswers503WithRetryAfter", scenario("balance/limit_test.go"), ofPool("max_connections", "queue", "queue.size", "queue.timeout")},
	{"TestStickyByHeaderAndByClientIP", scenario("sticky/affinity_test.go"), ofPool("sticky", "sticky.header", "sticky.header.name", "sticky.client_ip")},
	{"TestWatchReloadsWhenTheFileChanges", scenario("reload/reload_test.go"), []string{"reload", "reload.watch"}},
	{"TestRollbackWhenAReloadSendsTrafficToADeadPool", scenario("reload/reload_test.go"),
		prefixed("reload.", []string{"rollback", "rollback.window", "rollback.errors", "rollback.min_requests"})},
	{"TestAllowAndDeny", scenario("gate/limit_test.go"), prefixed("routes[].", []string{"allow", "deny"})},
	{"TestRateLimitByAddress", scenario("gate/limit_test.go"), prefixed("routes[].rate_limit", []string{"", ".requests", ".per", ".burst"})},
	{"TestRateLimitByHeaderAndCookie", scenario("gate/limit_test.go"), []string{"routes[].rate_limit.key"}},
	{"TestCORS", scenario("gate/browser_test.go"), prefixed("routes[].cors", []string{"", ".origins", ".methods", ".headers", ".expose", ".credentials", ".max_age"})},
	{"TestSecurityHeaders", scenario("gate/browser_test.go"),
		prefixed("routes[].security_headers", []string{"", ".no_sniff", ".frames", ".referrer", ".policy", ".override", ".hide_server"})},
	{"TestBasicAuth", scenario("gate/auth_test.go"), prefixed("routes[].basic_auth", []string{"", ".realm", ".users", ".file", ".forward"})},
	{"TestForwardAuth", scenario("gate/forward_test.go"), prefixed("routes[].forward_auth", []string{"", ".url", ".request_headers", ".response_headers"})},
	{"TestForwardAuthThatFails", scenario("gate/forward_test.go"), []string{"routes[].forward_auth.timeout"}},
	{"TestATokenIsNeeded", scenario("admin/access_test.go"), []string{"admin.token"}},
	{"TestATokenIsExchanged", scenario("admin/access_test.go"), []string{"admin.token_file"}},
	{"TestHeaderIsForTheTrustedAlone", scenario("proxyproto/in_test.go"), []string{"listeners.<name>.proxy_protocol"}},
	{"TestReceivers", scenario("proxyproto/out_test.go"), ofPool("proxy_protocol")},
	{"TestWhoIsTrusted", scenario("backendtls/trust_test.go"), ofPool("tls", "tls.ca", "tls.server_name", "tls.cert", "tls.key", "tls.min_version", "tls.verify")},
	{"TestClientCertificates", scenario("admin/access_test.go"), prefixed("admin.tls", []string{"", ".cert", ".key", ".client_ca"})},
	{"TestReadOnly", scenario("admin/access_test.go"), []string{"admin.read_only"}},
	{"TestTheCertificateIsChosenByHost", scenario("tls/serve_test.go"),
		prefixed("listeners.<name>.tls", []string{"", ".certificates", ".certificates[].hosts"})},
	{"TestBadFilesAreRefused", scenario("tls/files_test.go"), prefixed("listeners.<name>.tls.certificates[]", []string{".cert", ".key"})},
	{"TestOnlySafeTLSIsSpoken", scenario("tls/serve_test.go"), []string{"listeners.<name>.tls.min_version"}},
	{"TestClientsShowCertificates", scenario("tls/clients_test.go"),
		prefixed("listeners.<name>.tls.client_auth", []string{"", ".ca", ".mode"})},
	{"TestOCSPResponsesAreStapled", scenario("tls/staple_test.go"), []string{"listeners.<name>.tls.ocsp_stapling"}},
	{"TestPlainRequestsAreSentToHTTPS", scenario("tls/browser_test.go"), []string{"listeners.<name>.redirect_to_https"}},
	{"TestBrowsersAreToldToStayWithTLS", scenario("tls/browser_test.go"),
		prefixed("listeners.<name>.hsts", []string{"", ".max_age", ".include_subdomains", ".preload"})},
	{"TestLogLevel", scenario("admin/access_test.go"), []string{"log", "log.level"}},
}

// scenario is the path of a file with scenarios.
func scenario(file string) string { return filepath.Join("..", "..", "test", filepath.FromSlash(file)) }
