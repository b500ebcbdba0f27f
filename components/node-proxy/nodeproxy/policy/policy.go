// Package policy judges connections by the authorization policies that istiod sends (istio.security.Authorization).
//
// What cannot be understood denies: a policy that cannot be read or that holds a field, an enum value or a match of an unknown kind is
// kept as a broken policy, which refuses each connection that it might have been meant for.
package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"istio.io/istio/pkg/workloadapi/security"

	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/spiffeid"
)

// Policy is a policy that was read, or a broken one.
type Policy struct {
	// Key is the name of the resource: <namespace>/<name>.
	Key       string
	Namespace string
	// Broken says why the policy could not be understood; empty for a good one.
	Broken string
	// Source is the message as it came; nil when it could not be decoded.
	Source *security.Authorization

	scope  security.Scope
	deny   bool
	dryRun bool
	groups []group
}

// unknownScope is the scope of a broken policy whose scope cannot be told.
const unknownScope security.Scope = -1

// A group matches when all of its rules do, a rule when any of its matches does.
type (
	group []rule
	rule  []match
)

type match struct {
	namespaces, notNamespaces     []text
	accounts, notAccounts         []account
	principals, notPrincipals     []text
	sources, notSources           []netip.Prefix
	destinations, notDestinations []netip.Prefix
	ports, notPorts               []uint16
	empty                         bool
}

type account struct{ namespace, name string }

type text struct {
	kind  textKind
	value string
}

type textKind int

const (
	exact textKind = iota
	prefix
	suffix
	presence
)

// Parse reads the resource of this name. It always returns a policy; with an error it is a broken one.
func Parse(key string, data []byte) (*Policy, error) {
	namespace, _, _ := strings.Cut(key, "/")
	message := &security.Authorization{}
	if err := proto.Unmarshal(data, message); err != nil {
		return broken(&Policy{Key: key, Namespace: namespace, scope: unknownScope}, fmt.Errorf("it cannot be decoded: %w", err))
	}
	return New(key, message)
}

// New makes a policy of a decoded message; as Parse otherwise.
func New(key string, message *security.Authorization) (*Policy, error) {
	namespace, _, _ := strings.Cut(key, "/")
	policy := &Policy{
		Key: key, Namespace: namespace, Source: message,
		scope: message.GetScope(), deny: message.GetAction() == security.Action_DENY, dryRun: message.GetDryRun(),
	}
	if _, known := security.Scope_name[int32(message.GetScope())]; !known {
		policy.scope = unknownScope
		return broken(policy, fmt.Errorf("scope %d is unknown", message.GetScope()))
	}
	if want := message.GetNamespace() + "/" + message.GetName(); want != key {
		policy.scope = unknownScope
		return broken(policy, fmt.Errorf("the message names itself %q", want))
	}
	if unknown := unknownField(message.ProtoReflect()); unknown != "" {
		return broken(policy, fmt.Errorf("a field of %s is unknown", unknown))
	}
	if _, known := security.Action_name[int32(message.GetAction())]; !known {
		return broken(policy, fmt.Errorf("action %d is unknown", message.GetAction()))
	}
	if len(message.GetExtensions()) > 0 {
		return broken(policy, fmt.Errorf("it has an extension, which is not supported"))
	}
	for _, source := range message.GetGroups() {
		compiled := group{}
		for _, rules := range source.GetRules() {
			alternatives := rule{}
			for _, m := range rules.GetMatches() {
				one, err := compile(m)
				if err != nil {
					return broken(policy, err)
				}
				alternatives = append(alternatives, one)
			}
			compiled = append(compiled, alternatives)
		}
		policy.groups = append(policy.groups, compiled)
	}
	return policy, nil
}

func broken(policy *Policy, err error) (*Policy, error) {
	policy.Broken = err.Error()
	return policy, fmt.Errorf("policy %s: %w", policy.Key, err)
}

// unknownField returns the name of the first message in the tree that carries a field this program does not know.
func unknownField(message protoreflect.Message) string {
	if len(message.GetUnknown()) > 0 {
		return string(message.Descriptor().FullName())
	}
	found := ""
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Kind() != protoreflect.MessageKind || field.IsMap() {
			return true
		}
		if !field.IsList() {
			found = unknownField(value.Message())
			return found == ""
		}
		for i := range value.List().Len() {
			if found = unknownField(value.List().Get(i).Message()); found != "" {
				return false
			}
		}
		return true
	})
	return found
}

func compile(m *security.Match) (match, error) {
	var out match
	if len(m.GetExtensions()) > 0 {
		return out, fmt.Errorf("a match has an extension, which is not supported")
	}
	failure := error(nil)
	texts := func(values []*security.StringMatch) []text {
		var list []text
		for _, value := range values {
			switch kind := value.GetMatchType().(type) {
			case *security.StringMatch_Exact:
				list = append(list, text{exact, kind.Exact})
			case *security.StringMatch_Prefix:
				list = append(list, text{prefix, kind.Prefix})
			case *security.StringMatch_Suffix:
				list = append(list, text{suffix, kind.Suffix})
			case *security.StringMatch_Presence:
				list = append(list, text{kind: presence})
			default:
				failure = fmt.Errorf("a string match is of no known kind")
				continue
			}
			if last := list[len(list)-1]; last.kind != presence && last.value == "" {
				failure = fmt.Errorf("a string match is empty")
			}
		}
		return list
	}
	accounts := func(values []*security.ServiceAccountMatch) []account {
		var list []account
		for _, value := range values {
			if value.GetNamespace() == "" || value.GetServiceAccount() == "" {
				failure = fmt.Errorf("a service account match lacks its namespace or its name")
			}
			list = append(list, account{value.GetNamespace(), value.GetServiceAccount()})
		}
		return list
	}
	blocks := func(values []*security.Address) []netip.Prefix {
		var list []netip.Prefix
		for _, value := range values {
			address, ok := netip.AddrFromSlice(value.GetAddress())
			if !ok || value.GetLength() > uint32(address.BitLen()) {
				failure = fmt.Errorf("an address block has %d bytes and length %d", len(value.GetAddress()), value.GetLength())
				continue
			}
			length := int(value.GetLength())
			if address.Is4In6() {
				if length < 96 {
					failure = fmt.Errorf("an address block of IPv4 in IPv6 has length %d, which is less than 96", length)
					continue
				}
				address, length = address.Unmap(), length-96
			}
			list = append(list, netip.PrefixFrom(address, length).Masked())
		}
		return list
	}
	ports := func(values []uint32) []uint16 {
		var list []uint16
		for _, value := range values {
			if value > 65535 {
				failure = fmt.Errorf("port %d is above 65535", value)
			}
			list = append(list, uint16(value)) //nolint:gosec // checked above; the policy is broken otherwise
		}
		return list
	}
	out.namespaces, out.notNamespaces = texts(m.GetNamespaces()), texts(m.GetNotNamespaces())
	out.accounts, out.notAccounts = accounts(m.GetServiceAccounts()), accounts(m.GetNotServiceAccounts())
	out.principals, out.notPrincipals = texts(m.GetPrincipals()), texts(m.GetNotPrincipals())
	out.sources, out.notSources = blocks(m.GetSourceIps()), blocks(m.GetNotSourceIps())
	out.destinations, out.notDestinations = blocks(m.GetDestinationIps()), blocks(m.GetNotDestinationIps())
	out.ports, out.notPorts = ports(m.GetDestinationPorts()), ports(m.GetNotDestinationPorts())
	out.empty = len(m.GetNamespaces())+len(m.GetNotNamespaces())+len(m.GetServiceAccounts())+len(m.GetNotServiceAccounts())+
		len(m.GetPrincipals())+len(m.GetNotPrincipals())+len(m.GetSourceIps())+len(m.GetNotSourceIps())+len(m.GetDestinationIps())+
		len(m.GetNotDestinationIps())+len(m.GetDestinationPorts())+len(m.GetNotDestinationPorts()) == 0
	return out, failure
}

// peer is a connection with what policies ask of it taken apart.
type peer struct {
	principal, namespace, account string
	source, destination           netip.Addr
	port                          uint16
}

func newPeer(connection mesh.Connection) (peer, error) {
	out := peer{
		principal:   strings.TrimPrefix(connection.Identity, spiffeid.Prefix),
		source:      connection.Source.Unmap().WithZone(""),
		destination: connection.Destination.Addr().Unmap().WithZone(""),
		port:        connection.Destination.Port(),
	}
	if !out.source.IsValid() || !out.destination.IsValid() {
		return peer{}, fmt.Errorf("the connection has no source or no destination address")
	}
	if connection.Identity == "" {
		return out, nil
	}
	id, err := spiffeid.Parse(connection.Identity)
	if err != nil {
		return peer{}, err
	}
	out.namespace, out.account = id.Namespace, id.ServiceAccount
	return out, nil
}

// matches tells whether the policy's rules match; neither a dry run nor a broken policy is asked.
func (p *Policy) matches(from peer) bool {
	for _, group := range p.groups {
		all := true
		for _, rule := range group {
			if !rule.matches(from, p.deny) {
				all = false
				break
			}
		}
		if all {
			return true
		}
	}
	return false
}

func (r rule) matches(from peer, deny bool) bool {
	if len(r) == 0 {
		return true
	}
	for _, match := range r {
		// istiod empties a match whose conditions are of L7. It promises that a DENY is enforced without them; for ALLOW it matches nothing.
		if match.empty {
			if deny {
				return true
			}
			continue
		}
		if match.matches(from) {
			return true
		}
	}
	return false
}

func (m match) matches(from peer) bool {
	inNamespace := func(t text) bool { return t.matches(from.namespace) }
	isPrincipal := func(t text) bool { return t.matches(from.principal) }
	isAccount := func(a account) bool { return from.account == a.name && from.namespace == a.namespace }
	holdsSource := func(b netip.Prefix) bool { return b.Contains(from.source) }
	holdsDestination := func(b netip.Prefix) bool { return b.Contains(from.destination) }
	isPort := func(port uint16) bool { return port == from.port }
	return within(m.namespaces, m.notNamespaces, inNamespace) && within(m.accounts, m.notAccounts, isAccount) &&
		within(m.principals, m.notPrincipals, isPrincipal) && within(m.sources, m.notSources, holdsSource) &&
		within(m.destinations, m.notDestinations, holdsDestination) && within(m.ports, m.notPorts, isPort)
}

// within tells whether a value is among the wanted ones, if any are, and among none of the unwanted ones.
func within[T any](wanted, unwanted []T, matches func(T) bool) bool {
	for _, one := range unwanted {
		if matches(one) {
			return false
		}
	}
	if len(wanted) == 0 {
		return true
	}
	for _, one := range wanted {
		if matches(one) {
			return true
		}
	}
	return false
}

// matches never holds for a caller without identity: neither an empty prefix nor presence says anything of it.
func (t text) matches(value string) bool {
	if value == "" {
		return false
	}
	switch t.kind {
	case exact:
		return value == t.value
	case prefix:
		return strings.HasPrefix(value, t.value)
	case suffix:
		return strings.HasSuffix(value, t.value)
	case presence:
		return true
	default:
		return false
	}
}
