package mesh

import (
	"errors"
	"fmt"
	"text/template"
)

// A VirtualOutbound gives what its selectors pick further names and ports,
// made of its tags.
type VirtualOutbound struct {
	Selectors []Selector          `json:"selectors,omitempty"`
	Conf      VirtualOutboundConf `json:"conf"`
}

// VirtualOutboundConf holds two templates and what stands in them: host
// "{{.service}}.{{.version}}.mesh" and port "80".
type VirtualOutboundConf struct {
	Host       string             `json:"host"`
	Port       string             `json:"port"`
	Parameters []VirtualParameter `json:"parameters,omitempty"`
}

// A VirtualParameter is a tag's value under a name for templates.
type VirtualParameter struct {
	Name   string `json:"name"`
	TagKey string `json:"tagKey,omitempty"` // default Name
}

// Key is the tag that the parameter stands for.
func (p VirtualParameter) Key() string {
	if p.TagKey == "" {
		return p.Name
	}
	return p.TagKey
}

// Validate tells everything that is wrong with it.
func (s *VirtualOutbound) Validate() (v Violations) {
	v = append(v, validateSelectors("selectors", s.Selectors)...)
	v = append(v, s.Conf.validateParameters("conf.parameters")...)
	example := map[string]string{}
	for _, p := range s.Conf.Parameters {
		example[p.Name] = "1" // is a label of a name and a port as well
	}
	if s.Conf.Host == "" {
		v.Add("conf.host", `must not be empty; it is a template of a DNS name, as in "{{.service}}.mesh"`)
	} else if err := tryTemplate(s.Conf.Host, example, virtualHost); err != nil {
		v.Add("conf.host", "%s", err)
	}
	if s.Conf.Port == "" {
		v.Add("conf.port", `must not be empty; it is a port or a template of one, as in "80"`)
	} else if err := tryTemplate(s.Conf.Port, example, func(port string) error { _, err := virtualPort(port); return err }); err != nil {
		v.Add("conf.port", "%s", err)
	}
	return v
}

func tryTemplate(text string, example map[string]string, judge func(string) error) error {
	t, err := readTemplate(text)
	if err != nil {
		return err
	}
	made, err := fillIn(t, example)
	if err != nil {
		return err
	}
	return judge(made)
}

func (c *VirtualOutboundConf) validateParameters(path string) (v Violations) {
	named := map[string]int{}
	service := false
	for i, p := range c.Parameters {
		at := field(path, i)
		switch first, taken := named[p.Name]; {
		case !parameterName.MatchString(p.Name):
			v.Add(field(at, "name"), "must be letters and digits, beginning with a letter, as in {{.version1}}")
		case taken:
			v.Add(field(at, "name"), "%q is the name of %s already", p.Name, field(path, first))
		default:
			named[p.Name] = i
		}
		if p.TagKey != "" && !tagKey.MatchString(p.TagKey) {
			v.Add(field(at, "tagKey"), tagKeyRule)
		}
		service = service || p.Key() == ServiceTag
	}
	if !service {
		v.Add(path, `must have one with tagKey %q, as in "{name: service, tagKey: %s}"`, ServiceTag, ServiceTag)
	}
	return v
}

// A VirtualEntry is what one set of tags is called: a name, a port, and the
// tags that calls to it ask for.
type VirtualEntry struct {
	Host string
	Port uint16
	Tags Tags
}

// A Namer makes the entries of one VirtualOutbound. Templates are read once for
// all of them.
type Namer struct {
	parameters []VirtualParameter
	host, port *template.Template
	err        error // what Validate would have told
}

// Namer reads the templates.
func (s *VirtualOutbound) Namer() *Namer {
	n := &Namer{parameters: s.Conf.Parameters}
	var errs [2]error
	n.host, errs[0] = readTemplate(s.Conf.Host)
	n.port, errs[1] = readTemplate(s.Conf.Port)
	n.err = errors.Join(errs[:]...)
	return n
}

// Entry makes the entry of what has these tags. It fails where a parameter's
// tag is missing, or its value makes no name or no port.
func (n *Namer) Entry(tags Tags) (e VirtualEntry, err error) {
	if n.err != nil {
		return e, n.err
	}
	values := make(map[string]string, len(n.parameters))
	e.Tags = make(Tags, len(n.parameters))
	for _, p := range n.parameters {
		value, ok := tags[p.Key()]
		if !ok {
			return e, fmt.Errorf("there is no tag %q, which parameter %q stands for", p.Key(), p.Name)
		}
		values[p.Name], e.Tags[p.Key()] = value, value
	}
	host, err := fillIn(n.host, values)
	if err != nil {
		return e, fmt.Errorf("host: %w", err)
	}
	if err := virtualHost(host); err != nil {
		return e, fmt.Errorf("host: %w", err)
	}
	port, err := fillIn(n.port, values)
	if err != nil {
		return e, fmt.Errorf("port: %w", err)
	}
	if e.Port, err = virtualPort(port); err != nil {
		return e, fmt.Errorf("port: %w", err)
	}
	e.Host = canonicalHost(host)
	return e, nil
}
