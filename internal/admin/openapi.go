package admin

import (
	_ "embed"
	"net/http"
)

// openAPI describes every call of the API. It is written by hand, and a test
// holds it to the handlers.
//
//go:embed openapi.json
var openAPI []byte

func showOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI)
}
