package mesh

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
)

// An IntOrString is a whole number, or text where that says more: 50, "50.5",
// "http". A whole number is written as a number, whatever it came as.
type IntOrString string

var wholeNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,9})$`)

// MarshalJSON implements json.Marshaler.
func (x IntOrString) MarshalJSON() ([]byte, error) {
	if wholeNumber.MatchString(string(x)) {
		return []byte(x), nil
	}
	return json.Marshal(string(x))
}

// UnmarshalJSON implements json.Unmarshaler.
func (x *IntOrString) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*x = IntOrString(text)
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(data, &n); err != nil {
		return fmt.Errorf("must be a number or text")
	}
	*x = IntOrString(n)
	return nil
}

// Float returns what x is as a number.
func (x IntOrString) Float() (float64, error) { return strconv.ParseFloat(string(x), 64) }

// validatePercentText accepts "" as the default.
func validatePercentText(path string, x IntOrString) (v Violations) {
	if x == "" {
		return nil
	}
	if f, err := x.Float(); err != nil || !(f >= 0 && f <= 100) {
		v.Add(path, `must be a percentage, 0 to 100, as in 50 or "0.5"`)
	}
	return v
}

// needPercentText is validatePercentText for what has no default.
func needPercentText(path string, x IntOrString) (v Violations) {
	if x == "" {
		v.Add(path, `must be given, as in 50 or "0.5"`)
	}
	return append(v, validatePercentText(path, x)...)
}
