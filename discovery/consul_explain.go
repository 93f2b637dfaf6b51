package discovery

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// An explanation is not asked for again before explainFresh, and asked for
	// again after explainStale if there still is nobody.
	explainFresh   = 2 * time.Second
	explainStale   = 30 * time.Second
	explainTimeout = 2 * time.Second
	explainNames   = 8
)

// explainer finds out why an answer is empty. The list of services is asked
// for once for all who want it at about the same time.
type explainer struct {
	mu    sync.Mutex
	known map[[3]string]*catalog // by datacenter, namespace and partition
}

type catalog struct {
	at    time.Time
	names []string
	err   error
}

// explain says why nobody answers to q, and whether that may be because there
// is nothing that the token may read. A fresh explanation uses no list of
// services from before.
func (e *explainer) explain(ctx context.Context, s *session, q ConsulQuery, fresh bool) (text string, hidden bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	names, err := e.services(ctx, s, q, fresh)
	if err != nil {
		return "", false, err
	}
	if !slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, q.Service) }) {
		return noService(q, names), len(names) == 0, nil
	}
	entries, _, err := s.agent.client.Health().Service(q.Service, "", false, scope(ctx, q))
	if err != nil {
		return "", false, err
	}
	return noInstance(q, entries), len(entries) == 0, nil
}

func scope(ctx context.Context, q ConsulQuery) *api.QueryOptions {
	return (&api.QueryOptions{AllowStale: true, Datacenter: q.Datacenter, Namespace: q.Namespace, Partition: q.Partition}).WithContext(ctx)
}

func (e *explainer) services(ctx context.Context, s *session, q ConsulQuery, fresh bool) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := [3]string{q.Datacenter, q.Namespace, q.Partition}
	if c := e.known[key]; c != nil && !fresh && time.Since(c.at) < explainFresh {
		return c.names, c.err
	}
	services, _, err := s.agent.client.Catalog().Services(scope(ctx, q))
	if e.known == nil || len(e.known) >= 100 {
		e.known = make(map[[3]string]*catalog)
	}
	c := &catalog{at: time.Now(), names: slices.Sorted(maps.Keys(services)), err: err}
	e.known[key] = c
	return c.names, c.err
}

func noService(q ConsulQuery, names []string) string {
	where := "Consul"
	if q.Datacenter != "" {
		where += " in datacenter " + q.Datacenter
	}
	if len(names) == 0 {
		return fmt.Sprintf("%s knows no service %q, nor any other that this token may read", where, q.Service)
	}
	return fmt.Sprintf("%s knows no service %q; it knows: %s", where, q.Service, listed(nearest(q.Service, names)))
}

// noInstance explains why none of the instances of a service fits a query.
func noInstance(q ConsulQuery, entries []*api.ServiceEntry) string {
	tags := make(map[string]bool)
	tagged := 0
	for _, entry := range entries {
		if entry == nil || entry.Service == nil {
			continue
		}
		for _, tag := range entry.Service.Tags {
			tags[tag] = true
		}
		if hasTags(entry.Service.Tags, q.Tags) {
			tagged++
		}
	}
	count := fmt.Sprintf("service %s has %s", q.Service, instances(len(entries)))
	switch {
	case len(entries) == 0:
		return fmt.Sprintf("service %s has no instances that this token may read", q.Service)
	case tagged == 0 && len(tags) == 0:
		return fmt.Sprintf("%s, none with tag %s; they have no tags", count, strings.Join(q.Tags, " and "))
	case tagged == 0:
		return fmt.Sprintf("%s, none with tag %s; their tags are %s", count, strings.Join(q.Tags, " and "), listed(slices.Sorted(maps.Keys(tags))))
	case q.Filter != "":
		return fmt.Sprintf("%s, none of which fits the filter %s", count, clip(q.Filter))
	}
	return "" // They have come in the meantime.
}

// leftOut explains why none of the instances that fit a query can be a member;
// "" if one can.
func leftOut(q ConsulQuery, entries []*api.ServiceEntry) string {
	first := ""
	members := consulMembers(entries, q, func(_, problem string) { first = cmp.Or(first, problem) })
	if len(members) > 0 {
		return ""
	}
	return fmt.Sprintf("service %s has %s, none of which can be used: %s", q.Service, instances(len(entries)), first)
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}

// hasTags compares as Consul does, without regard to case.
func hasTags(tags, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(want string) bool {
		return !slices.ContainsFunc(tags, func(tag string) bool { return strings.EqualFold(tag, want) })
	})
}

// listed joins the first few names.
func listed(names []string) string {
	if len(names) <= explainNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:explainNames], ", "), len(names)-explainNames)
}

// nearest orders names by how much they look like one.
func nearest(name string, names []string) []string {
	names = slices.Clone(names)
	distances := make(map[string]int, len(names))
	for _, other := range names {
		distances[other] = editDistance(strings.ToLower(name), strings.ToLower(other))
		if strings.Contains(other, name) || strings.Contains(name, other) {
			distances[other] = 0
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(distances[a], distances[b]) })
	return names
}

// editDistance is Levenshtein's, over bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
