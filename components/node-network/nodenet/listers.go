package nodenet

import (
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
)

// listers are the agent's view of the API server's objects.
type listers struct {
	nodes      corelisters.NodeLister
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	policies   networkinglisters.NetworkPolicyLister
}

func newListers(factory informers.SharedInformerFactory, handler cache.ResourceEventHandler) (listers, error) {
	core, networking := factory.Core().V1(), factory.Networking().V1()
	for _, informer := range []cache.SharedIndexInformer{
		core.Nodes().Informer(), core.Pods().Informer(), core.Namespaces().Informer(),
		networking.NetworkPolicies().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return listers{}, err
		}
	}
	return listers{
		nodes: core.Nodes().Lister(), pods: core.Pods().Lister(),
		namespaces: core.Namespaces().Lister(), policies: networking.NetworkPolicies().Lister(),
	}, nil
}

func (l listers) objects() (objects Objects, err error) {
	if objects.Namespaces, err = l.namespaces.List(labels.Everything()); err != nil {
		return objects, err
	}
	if objects.Pods, err = l.pods.List(labels.Everything()); err != nil {
		return objects, err
	}
	objects.Policies, err = l.policies.List(labels.Everything())
	return objects, err
}
