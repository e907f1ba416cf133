// Package hostv1 is the messages between agent and control plane.
package hostv1

// Headers of calls on the hosts' port, beside the messages. They are no
// credentials: what a host says of itself can only have it refused.
const (
	// MachineHeader is a hash of the machine's id, by which a copy of a host's
	// state folder is told from the host.
	MachineHeader = "weft-machine"
	// BootHeader is another one at each boot of the machine.
	BootHeader = "weft-boot"
	// ControlPlanesHeader is sent back with each answer to a host that shows a
	// certificate: where control planes are, host:port, once for each.
	ControlPlanesHeader = "weft-control-planes"
	// TimeHeader is sent back with each answer: the control plane's clock, as
	// RFC 3339 with fractions of seconds.
	TimeHeader = "weft-time"
)

// What Questions go by on a stream of xDS.
const (
	// QuestionsFeature stands among the client features of the node of an agent
	// that answers them.
	QuestionsFeature = "weft.questions"
	// QuestionType is their type URL, QuestionResource the name of each.
	QuestionType     = "type.googleapis.com/weft.host.v1.Question"
	QuestionResource = "question"
)
