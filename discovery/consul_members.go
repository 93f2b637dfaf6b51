package discovery

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
)

const maxWeight = 65535

// consulMembers are the members that an answer of Consul's health endpoint
// names, ordered by node and service ID, or as Consul ordered them if the query
// says near what. What is odd about an instance is told to complain, with a
// key that is the same whenever it is told again.
func consulMembers(entries []*api.ServiceEntry, q ConsulQuery, complain func(key, problem string)) []Member {
	if q.Near == "" {
		entries = slices.Clone(entries)
		slices.SortStableFunc(entries, func(a, b *api.ServiceEntry) int {
			return cmp.Or(strings.Compare(nodeOf(a), nodeOf(b)), strings.Compare(idOf(a), idOf(b)))
		})
	}
	members := make([]Member, 0, len(entries))
	taken := make(map[string]bool, len(entries))
	for _, e := range entries {
		address, problem := consulAddress(e)
		if problem != "" {
			complain(nodeOf(e)+"/"+idOf(e)+"/address", problem)
			continue
		}
		if taken[address] {
			complain(nodeOf(e)+"/"+idOf(e)+"/taken", fmt.Sprintf("instance %s on node %s has the address %s of another instance, and is left out",
				idOf(e), nodeOf(e), address))
			continue
		}
		taken[address] = true
		state, reason := consulState(e.Checks, q.Health)
		members = append(members, Member{
			Address: address,
			Weight:  consulWeight(e, q.WeightMeta, complain),
			State:   state,
			Reason:  reason,
			Name:    e.Service.ID,
			Tags:    slices.Clone(e.Service.Tags),
			Meta:    consulMeta(e),
		})
	}
	return members
}

func nodeOf(e *api.ServiceEntry) string {
	if e == nil || e.Node == nil {
		return ""
	}
	return e.Node.Node
}

func idOf(e *api.ServiceEntry) string {
	if e == nil || e.Service == nil {
		return ""
	}
	return e.Service.ID
}

// consulAddress is where an instance listens: at the service's own address, or
// at its node's. Otherwise it says why the instance cannot be reached.
func consulAddress(e *api.ServiceEntry) (address, problem string) {
	if e == nil || e.Service == nil {
		return "", "an instance without a service in Consul's answer is left out"
	}
	host := e.Service.Address
	if host == "" && e.Node != nil {
		host = e.Node.Address
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	switch {
	case e.Service.SocketPath != "" && e.Service.Port == 0:
		if strings.HasPrefix(e.Service.SocketPath, "/") {
			return "unix:" + e.Service.SocketPath, ""
		}
		return "", fmt.Sprintf("instance %s on node %s has a socket without an absolute path, %q, and is left out", idOf(e), nodeOf(e), e.Service.SocketPath)
	case e.Service.Port < 1 || e.Service.Port > 65535:
		return "", fmt.Sprintf("instance %s on node %s has port %d, and is left out; register it with the port it listens on", idOf(e), nodeOf(e), e.Service.Port)
	case host == "" || strings.ContainsFunc(host, notPlain) || strings.Contains(host, ":") && net.ParseIP(zoneless(host)) == nil:
		return "", fmt.Sprintf("instance %s on node %s has the address %q, which is no host and no IP address, and is left out", idOf(e), nodeOf(e), host)
	}
	return net.JoinHostPort(host, strconv.Itoa(e.Service.Port)), ""
}

func zoneless(host string) string {
	ip, _, _ := strings.Cut(host, "%")
	return ip
}

// consulWeight is the weight of an instance: that of its meta if it has one
// that is valid, else what its registration says for its present health.
func consulWeight(e *api.ServiceEntry, key string, complain func(key, problem string)) int {
	if text, found := e.Service.Meta[key]; found && key != "" {
		weight, err := parseWeight(text)
		if err == nil {
			return weight
		}
		complain(nodeOf(e)+"/"+idOf(e)+"/weight", fmt.Sprintf("instance %s on node %s has the meta %s: %q, which is not a whole number from 0 to %d; Consul's weight is used",
			idOf(e), nodeOf(e), key, clip(text), maxWeight))
	}
	w := e.Service.Weights
	if w.Passing == 0 && w.Warning == 0 {
		return 1 // Registered without weights.
	}
	if warned(e.Checks) {
		return min(max(w.Warning, 0), maxWeight)
	}
	return min(max(w.Passing, 0), maxWeight)
}

// parseWeight reads a weight as people write it in meta.
func parseWeight(text string) (int, error) {
	weight, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
	return int(weight), err
}

// consulMeta is the service's meta, with node and datacenter.
func consulMeta(e *api.ServiceEntry) map[string]string {
	meta := make(map[string]string, len(e.Service.Meta)+2)
	if e.Node != nil {
		meta["node"] = e.Node.Node
		if e.Node.Datacenter != "" {
			meta["dc"] = e.Node.Datacenter
		}
	}
	maps.Copy(meta, e.Service.Meta)
	return meta
}

// sameMembers reports whether two answers name the same members, in whatever order.
func sameMembers(a, b []Member) bool {
	if len(a) != len(b) {
		return false
	}
	if slices.EqualFunc(a, b, sameMember) {
		return true
	}
	byAddress := make(map[string]*Member, len(a))
	for i := range a {
		byAddress[a[i].Address] = &a[i]
	}
	for _, m := range b {
		if other := byAddress[m.Address]; other == nil || !sameMember(*other, m) {
			return false
		}
	}
	return true
}

func sameMember(a, b Member) bool {
	return a.Address == b.Address && a.Weight == b.Weight && a.Backup == b.Backup &&
		a.MaxConnections == b.MaxConnections && a.State == b.State && a.Reason == b.Reason &&
		a.Name == b.Name && slices.Equal(a.Tags, b.Tags) && maps.Equal(a.Meta, b.Meta)
}

// handOver copies members for a sink, which may write to all but Meta.
func handOver(members []Member) []Member {
	out := slices.Clone(members)
	for i := range out {
		out[i].Tags = slices.Clone(out[i].Tags)
	}
	return out
}
