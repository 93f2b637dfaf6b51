package metrics

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewHandler serves what read fills in to Prometheus, as text, OpenMetrics or
// protobuf (which has the native histograms too). read is called once for each
// scrape, never twice at a time, and may reuse the slices of its argument.
func NewHandler(read func(*Sample), build Build) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{read: read, build: build, began: time.Now()},
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError, // the rest is better than nothing
		MaxRequestsInFlight: 4,
		EnableOpenMetrics:   true,
	})
}
