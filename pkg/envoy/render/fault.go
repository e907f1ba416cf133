package render

import (
	"math"
	"time"

	commonfaultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// faults render what goes wrong, a filter for each.
func (r *renderer) faults(w witness, faults []proxy.Fault) (fs []*hcmv3.HttpFilter) {
	for _, f := range faults {
		if len(f.Callers) > 0 && w == nothing {
			continue
		}
		fs = append(fs, r.only(w, r.httpFilter("envoy.filters.http.fault", fault(f)), f.Callers))
	}
	return fs
}

func fault(f proxy.Fault) *faultv3.HTTPFault {
	h := &faultv3.HTTPFault{}
	if d := f.Delay; d != nil {
		h.Delay = &commonfaultv3.FaultDelay{
			Percentage:         percent(d.Percent),
			FaultDelaySecifier: &commonfaultv3.FaultDelay_FixedDelay{FixedDelay: durationpb.New(time.Duration(d.For))},
		}
	}
	if a := f.Abort; a != nil {
		h.Abort = &faultv3.FaultAbort{
			Percentage: percent(a.Percent),
			ErrorType:  &faultv3.FaultAbort_HttpStatus{HttpStatus: a.Status},
		}
	}
	if b := f.Bandwidth; b != nil {
		h.ResponseRateLimit = &commonfaultv3.FaultRateLimit{
			Percentage: percent(b.Percent),
			LimitType: &commonfaultv3.FaultRateLimit_FixedLimit_{
				FixedLimit: &commonfaultv3.FaultRateLimit_FixedLimit{LimitKbps: kibibytes(b.BitsPerSecond)},
			},
		}
	}
	return h
}

// kibibytes is in what Envoy counts, whatever it calls it; at least one.
func kibibytes(bits uint64) uint64 { return max(bits/8/1024, 1) }

// percent is p of 100, to four digits behind the point.
func percent(p float64) *typev3.FractionalPercent {
	return &typev3.FractionalPercent{
		Numerator:   uint32(math.Round(p * 10_000)),
		Denominator: typev3.FractionalPercent_MILLION,
	}
}
