package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"steelyard/internal/explain"
)

// document is what the tests read of openapi.json.
type document struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Name, In string
		}
		Responses map[string]struct {
			Content map[string]struct{ Schema map[string]any }
		}
	}
	Components struct{ Schemas map[string]map[string]any }
}

func readDocument(t *testing.T) (d document) {
	t.Helper()
	if err := json.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestOpenAPIHasEveryCall compares the document with the handlers, both ways.
func TestOpenAPIHasEveryCall(t *testing.T) {
	s, _ := newServer(t)
	d := readDocument(t)
	served := map[string]bool{}
	for _, e := range s.endpoints(Options{}) {
		method, path, _ := strings.Cut(e.pattern, " ")
		served[e.pattern] = true
		op, documented := d.Paths[path][strings.ToLower(method)]
		if !documented {
			t.Errorf("%s is served and not documented", e.pattern)
			continue
		}
		var params []string
		for _, p := range op.Parameters {
			if p.In == "path" {
				params = append(params, p.Name)
			}
		}
		var names []string
		for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
			names = append(names, m[1])
		}
		if !slices.Equal(params, names) {
			t.Errorf("%s documents %v in its path, not %v", e.pattern, params, names)
		}
		if _, says := op.Responses["403"]; says != e.command {
			t.Errorf("%s documents a 403 of read_only: %v, but changes something: %v", e.pattern, says, e.command)
		}
	}
	for path, ops := range d.Paths {
		for method := range ops {
			if !served[strings.ToUpper(method)+" "+path] {
				t.Errorf("%s %s is documented and not served", method, path)
			}
		}
	}
}

// TestAnswersAreAsDocumented holds the fields of each answer to its schema.
func TestAnswersAreAsDocumented(t *testing.T) {
	s, address := newServer(t)
	awaitHistory(t, s)
	d := readDocument(t)
	const backend = "/api/v1/pools/{pool}/backends/{address}/{action}"
	at := strings.NewReplacer("{pool}", "web", "{address}", "127.0.0.1:1", "{action}", "drain")
	for _, c := range []struct {
		method, path, query, body string
		status                    int
	}{
		{"GET", "/api/v1/pools", "", "", 200},
		{"GET", "/api/v1/pools/{pool}", "", "", 200},
		{"POST", backend, "", `{"for": "30s"}`, 200},
		{"POST", backend, "", `{"for": 1}`, 400},
		{"GET", "/api/v1/backends", "", "", 200},
		{"POST", "/api/v1/pools/{pool}/release", "", "", 200},
		{"GET", "/api/v1/listeners", "", "", 200},
		{"GET", "/api/v1/routes", "", "", 200},
		{"POST", "/api/v1/explain", "", `{"host": "x", "headers": {"cookie": "a=b"}}`, 200},
		{"POST", "/api/v1/explain", "", `{"path": "x"}`, 400},
		{"GET", "/api/v1/errors", "", "", 200},
		{"GET", "/api/v1/session", "", "", 200},
		{"GET", "/api/v1/generation", "", "", 200},
		{"POST", "/api/v1/reload", "", "", 200},
		{"GET", "/api/v1/consul", "", "", 404},
		{"GET", "/api/v1/audit", "", "", 200},
		{"PUT", "/api/v1/log", "", `{"level": "debug"}`, 200},
		{"PUT", "/api/v1/log", "", `{"level": "loud"}`, 400},
		{"GET", "/api/v1/log", "", "", 200},
		{"GET", "/api/v1/history", "?pool=web&seconds=5", "", 200},
		{"GET", "/api/v1/history", "?causes=true", "", 200},
		{"GET", "/api/v1/history", "?seconds=901", "", 400},
		{"GET", "/api/v1/history", "?backend=127.0.0.1:1", "", 400},
		{"GET", "/api/v1/history", "?causes=perhaps", "", 400},
	} {
		status, text := call(t, c.method, "http://"+address+at.Replace(c.path)+c.query, c.body, nil)
		if status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, status, text, c.status)
			continue
		}
		res, documented := d.Paths[c.path][strings.ToLower(c.method)].Responses[fmt.Sprint(status)]
		if !documented {
			t.Errorf("%s %s answers %d, which is not documented", c.method, c.path, status)
			continue
		}
		var got any
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%s %s: %v in %s", c.method, c.path, err, text)
		}
		for _, wrong := range d.differs(res.Content["application/json"].Schema, got, "") {
			t.Errorf("%s %s: %s\n%s", c.method, c.path, wrong, text)
		}
	}
	if wrong := d.differs(map[string]any{"$ref": "#/components/schemas/Live"}, liveOf(t, s), ""); len(wrong) > 0 {
		t.Errorf("live: %v", wrong)
	}
}

// awaitHistory waits for the first second.
func awaitHistory(t *testing.T, s *Server) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); s.memory.recorded().Now() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("there is no history")
		}
	}
}

func liveOf(t *testing.T, s *Server) (v any) {
	t.Helper()
	if err := json.Unmarshal(s.memory.recorded().Now().JSON(), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// differs says where a value is not as its schema says. Fields that no schema
// has are wrong too, whatever a client may make of them.
func (d *document) differs(schema map[string]any, v any, path string) (wrong []string) {
	if name, ok := schema["$ref"].(string); ok {
		schema = d.Components.Schemas[strings.TrimPrefix(name, "#/components/schemas/")]
	}
	if schema == nil {
		return []string{path + " has no schema"}
	}
	if !slices.Contains(types(schema), typeOf(v)) && !(typeOf(v) == "integer" && slices.Contains(types(schema), "number")) {
		return []string{fmt.Sprintf("%s is %v, not of type %v", path, v, schema["type"])}
	}
	if allowed, ok := schema["enum"].([]any); ok && !slices.Contains(allowed, v) {
		wrong = append(wrong, fmt.Sprintf("%s is %v, not one of %v", path, v, allowed))
	}
	switch v := v.(type) {
	case []any:
		for i, one := range v {
			items, _ := schema["items"].(map[string]any)
			wrong = append(wrong, d.differs(items, one, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, has := v[name.(string)]; !has {
				wrong = append(wrong, fmt.Sprintf("%s.%s is missing", path, name))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			of, _ := properties[name].(map[string]any)
			if of == nil && schema["additionalProperties"] == true {
				continue
			}
			if of == nil {
				of, _ = schema["additionalProperties"].(map[string]any)
			}
			wrong = append(wrong, d.differs(of, v[name], path+"."+name)...)
		}
	}
	return wrong
}

func types(schema map[string]any) []string {
	switch t := schema["type"].(type) {
	case string:
		return []string{t}
	case []any:
		var all []string
		for _, one := range t {
			all = append(all, one.(string))
		}
		return all
	}
	return nil
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// TestReferencesOfOpenAPI: each schema that is named is there, and each that is
// there is named.
func TestReferencesOfOpenAPI(t *testing.T) {
	d := readDocument(t)
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`#/components/schemas/(\w+)`).FindAllSubmatch(openAPI, -1) {
		named[string(m[1])] = true
	}
	for name := range named {
		if d.Components.Schemas[name] == nil {
			t.Errorf("there is no schema %s", name)
		}
	}
	for name := range d.Components.Schemas {
		if !named[name] {
			t.Errorf("nothing has the schema %s", name)
		}
	}
	w := httptest.NewRecorder()
	showOpenAPI(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 200 || w.Body.Len() != len(openAPI) || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// TestSchemasHaveTheFieldsOfTheViews compares schemas with the Go types they
// describe, both ways: what may be left out and what is always there.
func TestSchemasHaveTheFieldsOfTheViews(t *testing.T) {
	d := readDocument(t)
	for name, view := range map[string]any{
		"Pool": poolView{}, "PoolLimit": limitView{}, "Counters": counters{}, "Backend": backendView{}, "Check": checkView{}, "CheckResult": resultView{},
		"Source": sourceView{}, "Consul": consulView{}, "Route": routeJSON{}, "ErrorRecord": errorJSON{}, "Attempt": attemptJSON{},
		"Generation": generationJSON{}, "Session": sessionView{}, "Order": order{}, "Question": explain.Question{}, "Answer": explain.Answer{},
		"RouteStep": explain.RouteStep{}, "Candidate": explain.Candidate{}, "Series": Series{}, "Live": Live{},
		"LiveTotal": LiveTotal{}, "LivePool": LivePool{}, "LiveBackend": LiveBackend{},
	} {
		schema := d.Components.Schemas[name]
		properties, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		fields := map[string]bool{}
		for i := range reflect.TypeOf(view).NumField() {
			tag, options, _ := strings.Cut(reflect.TypeOf(view).Field(i).Tag.Get("json"), ",")
			if tag == "" {
				continue
			}
			fields[tag] = true
			if properties[tag] == nil {
				t.Errorf("%s has no %s", name, tag)
			}
			if always := options == "" && name != "Question"; always != slices.Contains(required, any(tag)) {
				t.Errorf("%s.%s is always there: %v, which is not what required says", name, tag, always)
			}
		}
		for property := range properties {
			if !fields[property] {
				t.Errorf("there is no %s in %s", property, name)
			}
		}
	}
}
