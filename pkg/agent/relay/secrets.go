package relay

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// sdsState is what Status and Synced know of Envoy's secrets.
type sdsState struct {
	accepted string
	words    string
	waiting  int // streams that asked and have not accepted
}

// lookAgain is how often it is looked whether the host's owner has exchanged
// what he provides.
const lookAgain = time.Minute

// maxSecretNames bounds how many names one stream may ask for.
const maxSecretNames = 64

// secret returns the secret called name, nil when there is none of that name.
func (r *Relay) secret(name string, set SecretSet) *tlsv3.Secret {
	inline := func(pem []byte) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: pem}}
	}
	switch {
	case set.Version == "":
		return nil
	case name == proxy.SystemRoots && len(set.SystemRoots) > 0:
		return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: inline(set.SystemRoots),
		}}}
	case name == proxy.MetricsSecret && len(set.MetricsCertificate) > 0:
		return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inline(set.MetricsCertificate),
			PrivateKey:       inline(set.MetricsKey),
		}}}
	case name == proxy.IdentitySecret(r.cfg.ID.Mesh) && len(set.Certificate) > 0:
		return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inline(set.Certificate),
			PrivateKey:       inline(set.Key),
		}}}
	case name == proxy.RootsSecret(r.cfg.ID.Mesh) && len(set.Roots) > 0:
		return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa:               inline(set.Roots),
			AllowExpiredCertificate: set.AcceptExpired,
		}}}
	}
	return nil
}

// An sdsDialect is one of the two ways in which Envoy asks for secrets.
type sdsDialect[Req, Res any] struct {
	// ask reads a request: the names that it asks for now, given those asked
	// for before, the nonce that it answers, and Envoy's words if it refuses.
	ask func(req *Req, before []string) (want []string, nonce, words string, refuses bool)
	// tell writes a response.
	tell func(secrets []*tlsv3.Secret, bodies []*anypb.Any, version, nonce string) *Res
}

func (r *Relay) deltaSecrets(stream deltaStream) error {
	return serveSecrets(r, stream, sdsDialect[deltaRequest, deltaResponse]{
		ask: func(req *deltaRequest, before []string) ([]string, string, string, bool) {
			want := slices.DeleteFunc(slices.Clone(before), func(n string) bool {
				return slices.Contains(req.GetResourceNamesUnsubscribe(), n)
			})
			for _, n := range req.GetResourceNamesSubscribe() {
				if !slices.Contains(want, n) {
					want = append(want, n)
				}
			}
			return want, req.GetResponseNonce(), req.GetErrorDetail().GetMessage(), req.GetErrorDetail() != nil
		},
		tell: func(secrets []*tlsv3.Secret, bodies []*anypb.Any, version, nonce string) *deltaResponse {
			resp := &deltaResponse{TypeUrl: secretType, Nonce: nonce, SystemVersionInfo: version}
			for i, s := range secrets {
				resp.Resources = append(resp.Resources, &discoveryv3.Resource{Name: s.Name, Version: version, Resource: bodies[i]})
			}
			return resp
		},
	})
}

func (r *Relay) streamSecrets(stream grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]) error {
	return serveSecrets(r, stream, sdsDialect[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]{
		ask: func(req *discoveryv3.DiscoveryRequest, _ []string) ([]string, string, string, bool) {
			return req.GetResourceNames(), req.GetResponseNonce(), req.GetErrorDetail().GetMessage(), req.GetErrorDetail() != nil
		},
		tell: func(_ []*tlsv3.Secret, bodies []*anypb.Any, version, nonce string) *discoveryv3.DiscoveryResponse {
			return &discoveryv3.DiscoveryResponse{TypeUrl: secretType, VersionInfo: version, Nonce: nonce, Resources: bodies}
		},
	})
}

// An sdsSession is one stream of secrets.
type sdsSession struct {
	want    []string
	sent    string // version that went out last, for want as it is
	out     string // nonce of what is not answered; "": nothing
	refused bool   // what went out last was refused
	waiting bool   // counted in sdsState.waiting
	lacking bool   // it was told that the host lacks what is asked for
}

// serveSecrets answers one stream until it ends: at once what is asked for and
// known, and again whenever the secrets change, one response at a time.
func serveSecrets[Req, Res any](r *Relay, stream grpc.BidiStreamingServer[Req, Res], d sdsDialect[Req, Res]) error {
	ctx := stream.Context()
	requests, fail := receive(ctx, stream)
	var s sdsSession
	defer func() { r.sdsWaits(&s, false) }()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for n := 1; ; {
		set, changed := r.cfg.Secrets.Current()
		if s.out == "" && s.sent != set.Version && len(s.want) > 0 {
			secrets, bodies, err := r.secretsOf(s.want, set)
			if err != nil {
				return status.Error(codes.Internal, err.Error())
			}
			if len(secrets) > 0 {
				s.sent, s.out = set.Version, strconv.Itoa(n)
				n++
				if err := stream.Send(d.tell(secrets, bodies, set.Version, s.out)); err != nil {
					return err
				}
			}
		}
		awaited := len(s.want) > 0 && (s.sent == "" || s.out != "" || s.refused)
		r.sdsWaits(&s, awaited && !r.lacks(&s, set))
		select {
		case err := <-fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-again.C:
		case req := <-requests:
			want, nonce, words, refuses := d.ask(req, s.want)
			if len(want) > maxSecretNames {
				return status.Errorf(codes.ResourceExhausted, "asked for more than %d secrets", maxSecretNames)
			}
			r.sdsAnswer(&s, nonce, words, refuses)
			if !slices.Equal(want, s.want) {
				s.want, s.sent, s.out = want, "", ""
			}
		}
	}
}

// lacks tells whether a stream is about what the host's owner provides, or not:
// nobody waits for that. Envoy serves without, and lets nobody in by it.
func (r *Relay) lacks(s *sdsSession, set SecretSet) bool {
	for _, name := range s.want {
		if name != proxy.SystemRoots && name != proxy.MetricsSecret || set.Version == "" || r.secret(name, set) != nil {
			return false
		}
	}
	if !s.lacking {
		s.lacking = true
		r.log.Warn("envoy asks for what this host does not have", "secrets", s.want)
	}
	return true
}

func (r *Relay) secretsOf(names []string, set SecretSet) (secrets []*tlsv3.Secret, bodies []*anypb.Any, err error) {
	for _, name := range names {
		s := r.secret(name, set)
		if s == nil {
			continue
		}
		body, err := anypb.New(s)
		if err != nil {
			return nil, nil, errors.New("secret cannot be written") // its words might hold the key
		}
		secrets, bodies = append(secrets, s), append(bodies, body)
	}
	return secrets, bodies, nil
}

// sdsAnswer takes Envoy's word on what was sent.
func (r *Relay) sdsAnswer(s *sdsSession, nonce, words string, refuses bool) {
	if s.out == "" || nonce != s.out {
		return
	}
	s.out, s.refused = "", refuses
	r.mu.Lock()
	defer r.mu.Unlock()
	if refuses {
		r.sds.words = clip(words, maxWords)
		r.log.Warn("envoy refused secrets", "names", s.want, "version", s.sent, "words", r.sds.words)
		return
	}
	r.sds.accepted, r.sds.words = s.sent, ""
	r.log.Info("envoy accepted secrets", "names", s.want, "version", s.sent)
}

// sdsWaits counts the streams whose secrets are still awaited.
func (r *Relay) sdsWaits(s *sdsSession, waits bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case waits && !s.waiting:
		r.sds.waiting++
	case !waits && s.waiting:
		r.sds.waiting--
	}
	s.waiting = waits
	r.checkSynced()
}

// receive reads a stream's requests in the background. fail gets nil when the
// client has said all.
func receive[Req, Res any](ctx context.Context, stream grpc.BidiStreamingServer[Req, Res]) (<-chan *Req, <-chan error) {
	requests, fail := make(chan *Req), make(chan error, 1)
	go func() {
		for {
			req, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if req == nil || err != nil {
				fail <- err
				return
			}
			select {
			case requests <- req:
			case <-ctx.Done():
				return
			}
		}
	}()
	return requests, fail
}
