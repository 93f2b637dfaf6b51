package config

import "time"

// reloadMapping reads when the file is read anew without being asked, and when
// that is undone.
func reloadMapping() mapping[Reload] {
	return mapping[Reload]{
		noun: "settings of reload",
		fields: []field[Reload]{
			key("watch", boolean(), func(r *Reload) *bool { return &r.Watch },
				"Reloads when the file changes; SIGHUP and the admin API do so in any case."),
			key("rollback", orTrue(rollbackMapping()), func(r *Reload) **Rollback { return &r.Rollback },
				"Goes back to the configuration before when a reload brings errors; `true` is a rollback with defaults.").defaults("never"),
		},
	}
}

func rollbackMapping() mapping[Rollback] {
	return mapping[Rollback]{
		noun: "settings of rollback",
		fresh: func() Rollback {
			return Rollback{Window: 30 * time.Second, Errors: 0.05, MinRequests: 20}
		},
		fields: []field[Rollback]{
			key("window", duration(time.Second, time.Hour, ""), func(r *Rollback) *time.Duration { return &r.Window },
				"How long a reload is watched, and how far back it is compared with."),
			key("errors", share(), func(r *Rollback) *float64 { return &r.Errors },
				"By how much the share of responses with a 5xx may rise, in points: with `5%` from 1% to 6%. What Steelyard answers itself counts."),
			key("min_requests", integer(1, 1_000_000), func(r *Rollback) *int { return &r.MinRequests },
				"Responses that must have been counted before the reload, and after it, for a verdict."),
		},
	}
}
