package app

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"steelyard/config"
)

// SetLogLevel sets the least that is logged: debug, info, warn or error. It
// holds for the process until the next reload.
func (a *App) SetLogLevel(level string) error {
	if !slices.Contains(config.LogLevels(), level) {
		return fmt.Errorf("there is no log level %q; there are %s", level, strings.Join(config.LogLevels(), ", "))
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return err
	}
	slog.SetLogLoggerLevel(l)
	a.logLevel.Store(&level)
	return nil
}

// LogLevel is what was set last.
func (a *App) LogLevel() string {
	if l := a.logLevel.Load(); l != nil {
		return *l
	}
	return "info"
}
