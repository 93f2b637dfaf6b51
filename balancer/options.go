package balancer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Options chooses and tunes a policy. The zero value is round robin.
type Options struct {
	// Policy is one of Names(); "" means round_robin.
	Policy string
	// Key is what consistent_hash and maglev hash; other policies have none.
	Key Key
	// LoadFactor bounds consistent_hash: no member gets more than LoadFactor
	// times its fair share of the requests in flight. 0 means unbounded,
	// otherwise 1.05 to 10.
	LoadFactor float64
	// Replicas is the number of virtual nodes per unit of weight for
	// consistent_hash, 1 to 10000; 0 means the default of 160. A ring of more
	// than 1048576 virtual nodes has those of every member halved until it fits.
	Replicas int
	// TableSize is the size of the maglev table, a prime from 101 to 16777213
	// and at least 100 times the number of members for shares within 1 %; 0
	// lets Build choose. A size that is given is kept, whatever the membership
	// becomes, because a change of size moves nearly every key.
	TableSize int
}

// OptionError is one thing that is wrong with Options. Option is the option in
// the spelling of the configuration ("policy", "key", "load_factor", "replicas",
// "table_size"), so that the caller can say where in its file that is.
type OptionError struct {
	Option  string
	Problem string
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Problem }

// Names lists the policies, the default first.
func Names() []string {
	return []string{
		"round_robin", "least_connections", "consistent_hash", "maglev",
		"power_of_two", "random", "least_time",
	}
}

// New makes the policy that o describes, or returns what o.Validate does.
func New(o Options) (Policy, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	switch o.Policy {
	case "", "round_robin":
		return &roundRobin{}, nil
	case "least_connections":
		return &leastConnections{}, nil
	case "consistent_hash":
		replicas := o.Replicas
		if replicas == 0 {
			replicas = defaultReplicas
		}
		return &consistentHash{replicas: replicas, loadFactor: o.LoadFactor}, nil
	case "maglev":
		return &maglev{tableSize: o.TableSize}, nil
	case "power_of_two":
		return &powerOfTwo{random: rand.Uint64}, nil
	case "random":
		return &random{random: rand.Uint64}, nil
	case "least_time":
		return &leastTime{clock: monotonic}, nil
	}
	panic("balancer: policy " + o.Policy + " is in Names but not in New")
}

// Hashes reports whether the policy chooses by the key of the request, so that
// Picker.Pick must be given one.
func (o Options) Hashes() bool { return o.Policy == "consistent_hash" || o.Policy == "maglev" }

// Validate reports everything that is wrong with o, as *OptionError values
// joined into one error, or nil.
func (o Options) Validate() error {
	var errs []error
	report := func(option, format string, args ...any) {
		errs = append(errs, &OptionError{Option: option, Problem: fmt.Sprintf(format, args...)})
	}
	name := o.Policy
	if name == "" {
		name = "round_robin"
	}
	if !slices.Contains(Names(), name) {
		report("policy", "unknown policy %q%s; allowed are %s", name, didYouMean(name, Names()), strings.Join(Names(), ", "))
		return errors.Join(errs...) // What else is allowed depends on the policy.
	}

	switch {
	case !o.Hashes() && o.Key != (Key{}):
		report("key", "only consistent_hash and maglev have a key, %s has none", name)
	case o.Hashes() && o.Key == (Key{}):
		report("key", "%s needs a key: %s", name, keyForms)
	case o.Hashes():
		if err := o.Key.validate(); err != nil {
			report("key", "%v", err)
		}
	}

	ringed := name == "consistent_hash"
	switch {
	case o.LoadFactor != 0 && !ringed:
		report("load_factor", "only consistent_hash has a load factor, %s has none", name)
	case o.LoadFactor != 0 && !(o.LoadFactor >= minLoadFactor && o.LoadFactor <= maxLoadFactor):
		report("load_factor", "%v is out of range; allowed are %v to %v, or 0 for no bound", o.LoadFactor, minLoadFactor, maxLoadFactor)
	}
	switch {
	case o.Replicas != 0 && !ringed:
		report("replicas", "only consistent_hash has replicas, %s has none", name)
	case o.Replicas < 0 || o.Replicas > maxReplicas:
		report("replicas", "%d is out of range; allowed are 1 to %d, or 0 for %d", o.Replicas, maxReplicas, defaultReplicas)
	}
	switch {
	case o.TableSize != 0 && name != "maglev":
		report("table_size", "only maglev has a table, %s has none", name)
	case o.TableSize != 0 && (o.TableSize < minTableSize || o.TableSize > maxTableSize):
		report("table_size", "%d is out of range; allowed are primes from %d to %d, or 0 to choose by the number of backends", o.TableSize, minTableSize, maxTableSize)
	case o.TableSize != 0 && !isPrime(o.TableSize):
		report("table_size", "%d is not a prime; the next one is %d", o.TableSize, nextPrime(o.TableSize))
	}
	return errors.Join(errs...)
}

func isPrime(n int) bool {
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}

func nextPrime(n int) int {
	for !isPrime(n) {
		n++
	}
	return n
}

// didYouMean is a hint at the word nearest to a misspelt one, or "".
func didYouMean(word string, words []string) string {
	norm := strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(word))
	best, bestDistance := "", 1+len(norm)/3
	for _, w := range words {
		if len(norm) >= 4 && strings.HasPrefix(w, norm) {
			return "; did you mean " + w + "?"
		}
		if d := editDistance(norm, w); d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = w, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance is the number of bytes to insert, delete or replace to turn a
// into b (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}
