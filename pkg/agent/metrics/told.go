package metrics

import (
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// told says how the scrape itself went.
func told(envoy scrape, applications []scrape, lost map[string]int) []*dto.MetricFamily {
	gauge := func(name, help string) *dto.MetricFamily {
		return &dto.MetricFamily{Name: proto.String(name), Help: proto.String(help), Type: dto.MetricType_GAUGE.Enum()}
	}
	envoyUp := gauge("weft_scrape_envoy_up", "Whether Envoy told its metrics.")
	envoyTook := gauge("weft_scrape_envoy_duration_seconds", "How long Envoy took to tell them.")
	up := gauge("weft_scrape_application_up", "Whether the application told its metrics.")
	took := gauge("weft_scrape_application_duration_seconds", "How long the application took.")
	clash := gauge("weft_scrape_application_dropped_families", "Metrics of the application that are left out, as others tell them with another type.")
	set := func(f *dto.MetricFamily, v float64, application string) {
		m := &dto.Metric{Gauge: &dto.Gauge{Value: &v}}
		if application != "" {
			m.Label = []*dto.LabelPair{{Name: proto.String(applicationLabel), Value: proto.String(application)}}
		}
		f.Metric = append(f.Metric, m)
	}
	set(envoyUp, well(envoy.err), "")
	set(envoyTook, envoy.took.Seconds(), "")
	families := []*dto.MetricFamily{envoyUp, envoyTook}
	for _, a := range applications {
		set(up, well(a.err), a.name)
		set(took, a.took.Seconds(), a.name)
		set(clash, float64(lost[a.name]), a.name)
	}
	if len(applications) > 0 {
		families = append(families, up, took, clash)
	}
	return families
}

func well(err error) float64 {
	if err != nil {
		return 0
	}
	return 1
}
