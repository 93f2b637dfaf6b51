package config

// laterKeys are words of the design that no key is named by yet.
var laterKeys = []string{
	"acme", "cache", "compress",
	"http2", "http3", "proxy_protocol", "mirror", "include",
}

// otherWords maps words of other balancers, folded, to ours. A word is suggested
// only where it is allowed.
var otherWords = map[string][]string{
	"entrypoint": {"listeners"}, "entrypoints": {"listeners"}, "frontend": {"listeners"}, "frontends": {"listeners"},
	"listen": {"listeners", "address"}, "bind": {"listeners", "address"}, "port": {"address"}, "addr": {"address"}, "agent": {"address"}, "agents": {"address"},
	"rule": {"routes", "match"}, "rules": {"routes", "match"}, "location": {"routes", "path"}, "locations": {"routes"},
	"vhost": {"routes", "host"}, "vhosts": {"routes"}, "virtualhosts": {"routes"}, "hostname": {"host", "name"}, "domains": {"host"},
	"upstream": {"pools", "pool"}, "upstreams": {"pools"}, "cluster": {"pools", "pool"}, "clusters": {"pools"},
	"service": {"pool", "consul"}, "services": {"pools", "service"}, "backend": {"backends", "pool"}, "proxypass": {"pool"}, "forward": {"pool"},
	"server": {"backends", "servers"}, "servers": {"backends", "address"}, "endpoints": {"backends"}, "nodes": {"backends"},
	"targets": {"backends"}, "target": {"pool"}, "members": {"backends"}, "loadbalancer": {"backends"}, "url": {"address", "path"}, "uri": {"path"}, "endpoint": {"path", "backends"},
	"strategy": {"policy"}, "algorithm": {"policy"}, "balance": {"policy"}, "lbpolicy": {"policy"}, "scheduler": {"policy"},
	"persistence": {"sticky"}, "affinity": {"sticky"}, "stickiness": {"sticky"}, "retries": {"retry", "attempts"},
	"maxconn": {"max_connections"}, "maxconns": {"max_connections"}, "clientmaxbodysize": {"max_body_size"},
	"metrics": {"admin"}, "prometheus": {"admin"}, "return": {"respond"}, "status": {"respond", "health"}, "maxage": {"ttl"}, "canary": {"split"}, "weighted": {"split"},
	"methods": {"method"}, "hosts": {"host"}, "paths": {"path"}, "keepalivetimeout": {"idle_timeout"},
	"readtimeout": {"body_timeout", "response"}, "timeout": {"timeouts", "response"},
	"iphash": {"consistent_hash"}, "hash": {"consistent_hash"}, "ringhash": {"consistent_hash"}, "chash": {"consistent_hash"},
	"p2c": {"power_of_two"}, "wrr": {"round_robin"}, "rr": {"round_robin"}, "ewma": {"least_time"},
	"leastresponsetime": {"least_time"}, "leastlatency": {"least_time"}, "leastrequest": {"least_connections"},

	// Checks and outliers.
	"healthcheck": {"check"}, "healthchecks": {"check"}, "health": {"check"}, "activehealthcheck": {"check"}, "activehealthchecks": {"check"},
	"httpchk": {"check"}, "probe": {"check"}, "monitor": {"check"}, "readinessprobe": {"check"}, "livenessprobe": {"check"},
	"outlierdetection": {"outlier"}, "passive": {"outlier"}, "passivehealthcheck": {"outlier"}, "circuitbreaker": {"outlier"}, "observe": {"outlier"},
	"inter": {"interval"}, "period": {"interval"}, "every": {"interval"}, "fastinter": {"fast_interval"},
	"unhealthythreshold": {"fall"}, "healthythreshold": {"rise"}, "failurethreshold": {"fall"}, "successthreshold": {"rise"}, "fails": {"fall"}, "passes": {"rise"},
	"maxfails": {"consecutive", "outlier", "fall"}, "failtimeout": {"ejection", "outlier"}, "errorlimit": {"consecutive", "outlier"},
	"baseejectiontime": {"ejection"}, "ejectiontime": {"ejection"}, "maxejectionpercent": {"max_ejected"}, "consecutive5xx": {"consecutive"},
	"consecutivegatewayfailure": {"consecutive"}, "consecutiveerrors": {"consecutive"}, "failurepercentagethreshold": {"failure_share"},
	"requestvolume": {"min_requests"}, "errorrate": {"failure_share"}, "failurerate": {"failure_share"},
	"panicthreshold": {"when_all_unhealthy"}, "healthypanicthreshold": {"when_all_unhealthy"}, "failopen": {"when_all_unhealthy"},
	"drain": {"drain_timeout"}, "draining": {"drain_timeout"}, "deregistrationdelay": {"drain_timeout"}, "gracefultermination": {"drain_timeout"},
	"expectedstatus": {"status"}, "expectedstatuses": {"status"}, "statuscode": {"status"}, "code": {"status"}, "codes": {"status"},
	"expectedbody": {"body"}, "contains": {"body"}, "regex": {"body_regex"}, "command": {"exec"}, "cmd": {"exec"}, "script": {"exec"},
	"initialstate": {"start"}, "sni": {"server_name", "tls"}, "skipverify": {"insecure"}, "insecureskipverify": {"insecure"}, "scheme": {"tls"}, "ssl": {"tls"},
	"cafile": {"ca"}, "cacert": {"ca"}, "certfile": {"cert"}, "keyfile": {"key"},

	// Paths.
	"normalizepath": {"paths"}, "pathnormalization": {"paths"}, "normalizeuri": {"paths"}, "mergeslashes": {"paths"}, "pathwithescapedslashesaction": {"paths"},
	"allowencodedslashes": {"paths"}, "sanitizepath": {"paths"}, "cleanpath": {"paths"},

	// Access.
	"ipallowlist": {"allow"}, "ipwhitelist": {"allow"}, "whitelist": {"allow"}, "allowlist": {"allow"}, "blacklist": {"deny"}, "blocklist": {"deny"}, "denylist": {"deny"}, "block": {"deny"},
	"limitreq": {"rate_limit"}, "ratelimiting": {"rate_limit"}, "throttle": {"rate_limit"}, "limit": {"rate_limit", "requests"}, "rps": {"rate_limit", "requests"}, "average": {"requests"}, "interval": {"per"},
	"auth": {"basic_auth"}, "authbasic": {"basic_auth"}, "htpasswd": {"basic_auth", "file"}, "authrequest": {"forward_auth"}, "extauthz": {"forward_auth"}, "externalauth": {"forward_auth"},
	"authresponseheaders": {"response_headers"}, "authrequestheaders": {"request_headers"}, "crossorigin": {"cors"}, "alloworigin": {"origins"}, "allowedorigins": {"origins"}, "exposeheaders": {"expose"},
	"helmet": {"security_headers"}, "secureheaders": {"security_headers"},

	// Sources.
	"servicediscovery": {"source", "consul"}, "discovery": {"source", "consul"}, "provider": {"source"}, "providers": {"source"}, "registry": {"source", "consul"},
	"resolver": {"source", "servers"}, "resolvers": {"source", "servers"}, "nameserver": {"servers"}, "nameservers": {"servers"},
	"consul": {"source"}, "dns": {"source"}, "file": {"source"}, "srv": {"dns"}, "domain": {"name"}, "record": {"type"}, "recordtype": {"type"}, "valid": {"max_ttl"}, "ttl": {"max_ttl"}, "refresh": {"max_ttl"},
	"refreshinterval": {"max_ttl"}, "filename": {"path"}, "dc": {"datacenter"}, "ns": {"namespace"}, "tags": {"tag"}, "name": {"service"},
	"stale": {"max_stale"}, "allowstale": {"max_stale"}, "passingonly": {"health"}, "onlypassing": {"health"}, "guard": {"max_removal"},
	"acltoken": {"token"}, "self": {"register"}, "dashboard": {"admin"}, "api": {"admin"}, "management": {"admin"}, "stats": {"admin"},
	"tokenfile": {"token_file"}, "password": {"token"}, "secret": {"token"}, "apikey": {"token"}, "bearer": {"token"}, "readonly": {"read_only"},
	"clientca": {"client_ca", "client_auth"}, "mtls": {"client_ca", "client_auth"}, "clientcertificates": {"client_auth"},
	"sslcertificate": {"cert", "certificates"}, "sslcertificatekey": {"key"}, "sslprotocols": {"min_version"}, "minversion": {"min_version"}, "httpsredirect": {"redirect_to_https"}, "redirecthttps": {"redirect_to_https"}, "forcessl": {"redirect_to_https"},
	"stricttransportsecurity": {"hsts"}, "ocsp": {"ocsp_stapling"}, "stapling": {"ocsp_stapling"}, "sslstapling": {"ocsp_stapling"}, "accesslog": {"access_log"}, "accesslogs": {"access_log"}, "requestlog": {"access_log"}, "errorpage": {"errors", "pages"}, "errorpages": {"errors", "pages"}, "errorfile": {"pages", "errors"},
	"sampling": {"sample"}, "output": {"to"}, "buffersize": {"buffer"}, "loglevel": {"log", "level"}, "logging": {"log"}, "verbosity": {"level"}, "severity": {"level"}, "warning": {"warn"}, "trace": {"debug"}, "fatal": {"error"},
}
