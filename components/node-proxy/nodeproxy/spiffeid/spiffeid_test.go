package spiffeid

import "testing"

func TestParse(t *testing.T) {
	want := ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	for _, text := range []string{"spiffe://cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/sa/web"} {
		id, err := Parse(text)
		if err != nil || id != want || id.URI() != "spiffe://cluster.local/ns/shop/sa/web" || id.String() != "cluster.local/ns/shop/sa/web" {
			t.Errorf("%q: %+v, %v", text, id, err)
		}
	}
	for _, text := range []string{
		"", "spiffe://", "cluster.local", "cluster.local/ns/shop", "cluster.local/ns/shop/sa/", "/ns/shop/sa/web", "cluster.local/ns//sa/web",
		"cluster.local/ns/shop/sa/web/", "cluster.local/ns/shop/sa/web/more", "cluster.local/sa/shop/ns/web", "https://cluster.local/ns/shop/sa/web",
		"cluster.local/ns/shop/sa/*", "cluster.local/ns/shop/sa/w%65b", "cluster.local/ns/shop/sa/web?x", "cluster.local/ns/shop/sa/web#x",
		"u@cluster.local/ns/shop/sa/web", "cluster.local:1/ns/shop/sa/web", "cluster.local/ns/shop/sa/w eb", "spiffe://spiffe://cluster.local/ns/shop/sa/web",
	} {
		if id, err := Parse(text); err == nil {
			t.Errorf("%q is read as %+v", text, id)
		}
	}
}
