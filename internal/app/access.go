package app

import (
	"fmt"

	"steelyard/config"
	"steelyard/internal/accesslog"
	"steelyard/internal/metrics"
	"steelyard/internal/proxy"
	"steelyard/internal/rewrite"
)

// ReopenLogs closes and opens the file of the access log, which whoever rotates
// it has moved. It does not wait.
func (a *App) ReopenLogs() { a.access.Reopen() }

func (a *App) sampleAccessLog(into *metrics.Sample) {
	l := &into.AccessLog
	l.Lines, l.Dropped, l.Failed = a.access.Counts()
}

// openAccessLog opens what the access log of a takeover is written to, and says
// in its generation how lines read.
func (a *App) openAccessLog(t *takeover) (err error) {
	c := t.cfg.AccessLog
	if c == nil {
		return nil
	}
	log := &proxy.AccessLog{Log: a.access, Combined: c.Format == "combined", Sample: c.Sample, Errors: c.Errors == "always"}
	if c.Template != "" {
		if log.Template, err = rewrite.ParseWith(c.Template, accesslog.Names()); err != nil {
			return fmt.Errorf("access_log.template: %w", err)
		}
	}
	log.Fields, _ = accesslog.ParseFields(c.Fields) // config has checked them
	if t.accessSink, err = accesslog.Open(c.To); err != nil {
		return fmt.Errorf("access_log.to: %w", err)
	}
	t.next.generation.AccessLog = log
	return nil
}

// useAccessLog lets lines go where the takeover wants them.
func (a *App) useAccessLog(t *takeover) {
	buffer := 0
	if t.cfg.AccessLog != nil {
		buffer = t.cfg.AccessLog.Buffer
	}
	a.access.Use(t.accessSink, buffer)
	t.accessSink = nil
}

// errorPages reads the pages of a configuration.
func errorPages(cfg *config.Config) (*proxy.ErrorPages, error) {
	e := &proxy.ErrorPages{HideCause: !cfg.Errors.CauseHeader, Listeners: map[string]proxy.PageSet{}}
	var err error
	if e.Pages, err = pageSet(cfg.Errors.Pages); err != nil {
		return nil, fmt.Errorf("errors.pages: %w", err)
	}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if e.Listeners[l.Name], err = pageSet(l.ErrorPages); err != nil {
			return nil, fmt.Errorf("listeners.%s.errors.pages: %w", l.Name, err)
		}
	}
	return e, nil
}

func pageSet(pages []config.ErrorPage) (proxy.PageSet, error) {
	set := proxy.PageSet{}
	for _, p := range pages {
		page, err := proxy.ReadErrorPage(p.File)
		if err != nil {
			return nil, err
		}
		set[p.Status] = page
	}
	return set, nil
}
