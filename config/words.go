package config

// laterKeys are words of the design that no key is named by yet.
var laterKeys = []string{
	"check", "source", "outlier", "admin", "tls", "rate_limit", "metrics", "access_log", "log", "acme",
	"cache", "compress", "auth", "slow_start", "http2", "http3", "proxy_protocol", "mirror", "include",
}

// otherWords maps words of other balancers, folded, to ours. A word is suggested
// only where it is allowed.
var otherWords = map[string][]string{
	"entrypoint": {"listeners"}, "entrypoints": {"listeners"}, "frontend": {"listeners"}, "frontends": {"listeners"},
	"listen": {"listeners", "address"}, "bind": {"listeners", "address"}, "port": {"address"}, "addr": {"address"},
	"rule": {"routes", "match"}, "rules": {"routes", "match"}, "location": {"routes", "path"}, "locations": {"routes"},
	"vhost": {"routes", "host"}, "vhosts": {"routes"}, "virtualhosts": {"routes"}, "hostname": {"host"}, "domains": {"host"},
	"upstream": {"pools", "pool"}, "upstreams": {"pools"}, "cluster": {"pools", "pool"}, "clusters": {"pools"},
	"service": {"pool"}, "services": {"pools"}, "backend": {"pool", "backends"}, "proxypass": {"pool"}, "forward": {"pool"},
	"server": {"backends"}, "servers": {"backends"}, "endpoints": {"backends"}, "nodes": {"backends"},
	"targets": {"backends"}, "target": {"pool"}, "members": {"backends"}, "loadbalancer": {"backends"}, "url": {"address"},
	"strategy": {"policy"}, "algorithm": {"policy"}, "balance": {"policy"}, "lbpolicy": {"policy"}, "scheduler": {"policy"},
	"persistence": {"sticky"}, "affinity": {"sticky"}, "stickiness": {"sticky"}, "retries": {"retry", "attempts"},
	"maxconn": {"max_connections"}, "maxconns": {"max_connections"}, "clientmaxbodysize": {"max_body_size"},
	"return": {"respond"}, "status": {"respond"}, "maxage": {"ttl"}, "canary": {"split"}, "weighted": {"split"},
	"methods": {"method"}, "hosts": {"host"}, "paths": {"path"}, "keepalivetimeout": {"idle_timeout"},
	"readtimeout": {"body_timeout", "response"}, "timeout": {"timeouts", "response"},
	"iphash": {"consistent_hash"}, "hash": {"consistent_hash"}, "ringhash": {"consistent_hash"}, "chash": {"consistent_hash"},
	"p2c": {"power_of_two"}, "wrr": {"round_robin"}, "rr": {"round_robin"}, "ewma": {"least_time"},
	"leastresponsetime": {"least_time"}, "leastlatency": {"least_time"}, "leastrequest": {"least_connections"},
}
