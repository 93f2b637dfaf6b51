package config

import "steelyard/internal/adaptive"

func adaptiveMapping() mapping[adaptive.Options] {
	return mapping[adaptive.Options]{
		noun: "an adaptive limit",
		fields: []field[adaptive.Options]{
			key("min", integer(1, maxConnections), func(o *adaptive.Options) *int { return &o.Min },
				"The limit never falls below this."),
			key("max", integer(1, maxConnections), func(o *adaptive.Options) *int { return &o.Max },
				"The limit never rises above this."),
			key("tolerance", decimal("1.2 to 20"), func(o *adaptive.Options) *float64 { return &o.Tolerance },
				"How many times longer than without a queue an answer may take, on average, before requests are kept away."),
		},
		fresh:    adaptive.DefaultOptions,
		validate: func(o *adaptive.Options) error { return o.Validate() },
		bounds:   map[string][]string{"max": {"min"}},
	}
}
