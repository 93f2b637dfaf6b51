package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// anyText is a text that check accepts; a nil check accepts every one.
func anyText(allowed string, check func(string) *wrong) kind[string] {
	return scalar("text", allowed, func(s string) (string, *wrong) {
		if check != nil {
			if bad := check(s); bad != nil {
				return "", bad
			}
		}
		return s, nil
	}, func(s string) string { return s })
}

// enum is one of a few words.
func enum(words []string) kind[string] {
	return anyText(strings.Join(words, ", "), func(s string) *wrong {
		if slices.Contains(words, s) {
			return nil
		}
		return &wrong{msg: fmt.Sprintf("unknown value %q", clip(s)), suggest: nearest(s, words)}
	})
}

// boolean is true or false.
func boolean() kind[bool] { return booleanOr("") }

// booleanOr is true or false in a place that takes something else as well.
func booleanOr(other string) kind[bool] {
	return scalar("boolean", "true, false"+other, func(s string) (bool, *wrong) {
		switch s {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		bad := &wrong{msg: fmt.Sprintf("%q is neither true nor false", clip(s))}
		switch strings.ToLower(s) {
		case "true", "yes", "on", "1":
			bad.suggest = "true"
		case "false", "no", "off", "0":
			bad.suggest = "false"
		}
		return false, bad
	}, strconv.FormatBool)
}

// integer is a whole number from lowest to highest.
func integer(lowest, highest int) kind[int] {
	allowed := fmt.Sprintf("%d to %d", lowest, highest)
	return scalar("number", allowed, func(s string) (int, *wrong) {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil && strings.Trim(s, "-0123456789") == "" && s != "" && strings.Trim(s, "-") != "":
			return 0, &wrong{msg: clip(s) + " is out of range"}
		case err != nil:
			return 0, &wrong{msg: fmt.Sprintf("%q is not a whole number", clip(s))}
		case n < lowest:
			return 0, &wrong{msg: fmt.Sprintf("%d is too small", n)}
		case n > highest:
			return 0, &wrong{msg: fmt.Sprintf("%d is too large", n)}
		}
		return n, nil
	}, strconv.Itoa)
}

// orNone lets a number's 0 read as what it means in the documentation.
func orNone[V comparable](k kind[V], meaning string) kind[V] {
	var zero V
	show := k.show
	k.show = func(v V) string {
		if v == zero {
			return "0, " + meaning
		}
		return show(v)
	}
	return k
}

// decimal is a number that may have a fraction; its package checks the range.
func decimal(allowed string) kind[float64] {
	return scalar("number", allowed, func(s string) (float64, *wrong) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return 0, &wrong{msg: fmt.Sprintf("%q is not a number", clip(s))}
		}
		return f, nil
	}, func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) })
}

// share is a part of a whole, kept as 0 to 1.
func share() kind[float64] {
	return scalar("percentage", "0% to 100%, or 0 to 1", func(s string) (float64, *wrong) {
		digits, percent := strings.CutSuffix(s, "%")
		f, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || math.IsNaN(f) {
			return 0, &wrong{msg: fmt.Sprintf("%q is not a percentage", clip(s))}
		}
		if percent {
			f /= 100
		}
		if f < 0 || f > 1 {
			bad := &wrong{msg: clip(s) + " is out of range"}
			if !percent && f > 1 && f <= 100 {
				bad.suggest = s + "%"
			}
			return 0, bad
		}
		return f, nil
	}, func(f float64) string { return strconv.FormatFloat(f*100, 'g', -1, 64) + "%" })
}

// day is the largest unit of a duration.
const day = 24 * time.Hour

var durationUnits = map[string]time.Duration{
	"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": day,
}

var durationPart = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([a-z]+)`)

// duration is a time from lowest to highest. zero, if not empty, says what 0 means,
// and allows it.
func duration(lowest, highest time.Duration, zero string) kind[time.Duration] {
	allowed := showDuration(lowest) + " to " + showDuration(highest)
	if zero != "" {
		allowed += ", or 0 (" + zero + ")"
	}
	k := scalar("duration", allowed, func(s string) (time.Duration, *wrong) {
		d, bad := parseDuration(s)
		switch {
		case bad != nil:
			return 0, bad
		case d == 0 && zero != "":
		case d < lowest:
			return 0, &wrong{msg: clip(s) + " is too short"}
		case d > highest:
			return 0, &wrong{msg: clip(s) + " is too long"}
		}
		return d, nil
	}, showDuration)
	if zero != "" {
		return orNone(k, zero)
	}
	return k
}

// parseDuration reads 500ms, 2s, 1m30s, 1h, 1d, or 0.
func parseDuration(s string) (time.Duration, *wrong) {
	rest := strings.TrimSpace(s)
	if rest == "0" {
		return 0, nil
	}
	if n, err := strconv.ParseFloat(rest, 64); err == nil && n >= 0 && !strings.ContainsAny(rest, "nNiIxX_") {
		return 0, &wrong{msg: fmt.Sprintf("%q has no unit; units are us, ms, s, m, h, d", clip(s)), suggest: rest + "s"}
	}
	if strings.HasPrefix(rest, "-") {
		return 0, &wrong{msg: clip(s) + " is negative"}
	}
	var sum float64
	for rest != "" {
		m := durationPart.FindStringSubmatch(rest)
		if m == nil || durationUnits[m[2]] == 0 {
			return 0, badDuration(s)
		}
		n, _ := strconv.ParseFloat(m[1], 64)
		sum += n * float64(durationUnits[m[2]])
		rest = rest[len(m[0]):]
	}
	switch {
	case s == "":
		return 0, badDuration(s)
	case sum > math.MaxInt64/2:
		return 0, &wrong{msg: clip(s) + " is too long"}
	}
	return time.Duration(math.Round(sum)), nil
}

// badDuration says that s is no duration, with a guess for units written out.
func badDuration(s string) *wrong {
	bad := &wrong{msg: fmt.Sprintf("%q is not a duration; write a number and a unit (us, ms, s, m, h, d), like 500ms, 2s or 1m30s", clip(s))}
	m := writtenOut.FindStringSubmatch(strings.ToLower(s))
	if m == nil {
		return bad
	}
	switch unit := m[2]; {
	case strings.HasPrefix(unit, "ms") || strings.HasPrefix(unit, "milli"):
		bad.suggest = m[1] + "ms"
	case strings.HasPrefix(unit, "mo"), strings.HasPrefix(unit, "mi") && !strings.HasPrefix(unit, "min"): // months, microseconds
	default:
		bad.suggest = m[1] + unit[:1]
	}
	return bad
}

var writtenOut = regexp.MustCompile(`^\s*([0-9]+)\s*((?:ms|milli|s|sec|m|min|h|hour|hr|d|day)[a-z]*)\.?\s*$`)

// showDuration writes d in the fewest units: 1m30s, 1h, 24h, 30d.
func showDuration(d time.Duration) string {
	if d > day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := strings.Replace(d.String(), "µ", "u", 1)
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// sizeUnits are in the order in which sizes are shown.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

var sizePattern = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)$`)

// size is a number of bytes from lowest to highest. zero, if not empty, says what 0
// means, and allows it.
func size[V int | int64](lowest, highest int64, zero string) kind[V] {
	allowed := showSize(lowest) + " to " + showSize(highest)
	if zero != "" {
		allowed += ", or 0 (" + zero + ")"
	}
	k := scalar("size", allowed, func(s string) (V, *wrong) {
		n, bad := parseSize(s)
		switch {
		case bad != nil:
			return 0, bad
		case n == 0 && zero != "":
		case n < lowest:
			return 0, &wrong{msg: clip(s) + " is too small"}
		case n > highest:
			return 0, &wrong{msg: clip(s) + " is too large"}
		}
		return V(n), nil
	}, func(v V) string { return showSize(int64(v)) })
	if zero != "" {
		return orNone(k, zero)
	}
	return k
}

// parseSize reads 64KiB, 10MB, 1.5GiB or a plain number of bytes.
func parseSize(s string) (int64, *wrong) {
	bad := &wrong{msg: fmt.Sprintf("%q is not a size; write bytes, or a number and a unit (KiB, MiB, GiB, kB, MB, GB)", clip(s))}
	m := sizePattern.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return 0, bad
	}
	unit := int64(1)
	if m[2] != "" {
		unit = 0
		for _, u := range sizeUnits {
			if u.name == m[2] {
				unit = u.bytes
			}
			if letter := strings.ToUpper(m[2]); bad.suggest == "" && (letter == strings.ToUpper(u.name) || letter+"IB" == strings.ToUpper(u.name)) {
				bad.suggest = m[1] + u.name
			}
		}
		if unit == 0 {
			return 0, bad
		}
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n*float64(unit) > math.MaxInt64/2 {
		return 0, &wrong{msg: clip(s) + " is too large"}
	}
	if n*float64(unit) != math.Trunc(n*float64(unit)) {
		return 0, &wrong{msg: clip(s) + " is not a whole number of bytes"}
	}
	return int64(n * float64(unit)), nil
}

// showSize writes n in the largest unit that divides it.
func showSize(n int64) string {
	for _, u := range sizeUnits {
		if u.bytes > 1 && n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
