import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  notFound,
  Outlet,
  redirect,
} from '@tanstack/react-router';
import { Loading } from '../components/states';
import { CataloguePage } from '../features/catalog/catalogue-page';
import { ProductPage } from '../features/catalog/product-page';
import { SearchPage } from '../features/catalog/search-page';
import { ready } from '../lib/auth/session';
import { fetched } from '../lib/lazy';
import { CrashPage } from './crash-page';
import { Layout } from './layout';
import { DENIED, NotFoundPage } from './not-found-page';
import * as search from './search';

async function needsSignIn({ location }: { location: { href: string } }): Promise<void> {
  if ((await ready()).status !== 'signed-in') throw redirect({ to: '/login', search: { return: location.href } });
}

/** Comfort, not protection: gateway and services check each request. It keeps the admin chunk from being fetched. */
async function needsAdmin(context: { location: { href: string } }): Promise<void> {
  await needsSignIn(context);
  const session = await ready();
  if (session.status !== 'signed-in' || !session.admin) throw notFound({ data: DENIED });
}

const personal = { beforeLoad: needsSignIn, staticData: { personal: true } };

const root = createRootRoute({ component: Layout, notFoundComponent: NotFoundPage });
const orders = fetched('orders', () => import('../features/orders/area'));
const area = fetched('admin', () => import('../features/admin/area'));

// Each route is a constant: written into the list, it would lose its path's type.
const up = () => root;
const home = createRoute({
  getParentRoute: up,
  path: '/',
  component: CataloguePage,
  validateSearch: search.catalogueSearch,
});
const find = createRoute({
  getParentRoute: up,
  path: '/search',
  component: SearchPage,
  validateSearch: search.querySearch,
});
const book = createRoute({ getParentRoute: up, path: '/books/$id', component: ProductPage });
const cart = createRoute({
  getParentRoute: up,
  path: '/cart',
  component: lazyRouteComponent(
    fetched('cart', () => import('../features/cart/cart-page')),
    'CartPage',
  ),
});
const checkout = createRoute({
  getParentRoute: up,
  path: '/checkout',
  ...personal,
  component: lazyRouteComponent(
    fetched('checkout', () => import('../features/checkout/checkout-page')),
    'CheckoutPage',
  ),
});
const confirmation = createRoute({
  getParentRoute: up,
  path: '/order-confirmation/$id',
  ...personal,
  component: lazyRouteComponent(orders, 'ConfirmationPage'),
});
const history = createRoute({
  getParentRoute: up,
  path: '/orders',
  ...personal,
  validateSearch: search.ordersSearch,
  component: lazyRouteComponent(orders, 'OrdersPage'),
});
const order = createRoute({
  getParentRoute: up,
  path: '/orders/$id',
  ...personal,
  component: lazyRouteComponent(orders, 'OrderPage'),
});
const login = createRoute({
  getParentRoute: up,
  path: '/login',
  validateSearch: search.loginSearch,
  component: lazyRouteComponent(
    fetched('login', () => import('../features/account/login-page')),
    'LoginPage',
  ),
});
const callback = createRoute({
  getParentRoute: up,
  path: '/callback',
  component: () => <Loading level="h1" label="Signing in" />,
});

const admin = createRoute({
  getParentRoute: up,
  path: '/admin',
  beforeLoad: needsAdmin,
  staticData: { personal: true },
  component: Outlet,
});
const within = () => admin;
const summary = createRoute({ getParentRoute: within, path: '/', component: lazyRouteComponent(area, 'SummaryPage') });
const books = createRoute({
  getParentRoute: within,
  path: '/books',
  validateSearch: search.adminBooksSearch,
  component: lazyRouteComponent(area, 'BooksPage'),
});
const newBook = createRoute({
  getParentRoute: within,
  path: '/books/new',
  component: lazyRouteComponent(area, 'NewBookPage'),
});
const editBook = createRoute({
  getParentRoute: within,
  path: '/books/$id',
  component: lazyRouteComponent(area, 'EditBookPage'),
});
const stock = createRoute({
  getParentRoute: within,
  path: '/stock',
  validateSearch: search.adminStockSearch,
  component: lazyRouteComponent(area, 'StockPage'),
});
const lowStock = createRoute({
  getParentRoute: within,
  path: '/low-stock',
  validateSearch: search.adminStockSearch,
  component: lazyRouteComponent(area, 'LowStockPage'),
});
const allOrders = createRoute({
  getParentRoute: within,
  path: '/orders',
  validateSearch: search.adminOrdersSearch,
  component: lazyRouteComponent(area, 'AdminOrdersPage'),
});
const anyOrder = createRoute({
  getParentRoute: within,
  path: '/orders/$id',
  component: lazyRouteComponent(area, 'AdminOrderPage'),
});

const routes = root.addChildren([
  home,
  find,
  book,
  cart,
  checkout,
  confirmation,
  history,
  order,
  login,
  callback,
  admin.addChildren([summary, books, newBook, editBook, stock, lowStock, allOrders, anyOrder]),
]);

export const router = createRouter({
  routeTree: routes,
  parseSearch: search.parseSearch,
  stringifySearch: search.stringifySearch,
  scrollRestoration: true,
  defaultPendingMs: 150,
  defaultPendingMinMs: 0,
  defaultPendingComponent: Loading,
  defaultErrorComponent: CrashPage,
  defaultNotFoundComponent: NotFoundPage,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
  interface StaticDataRouteOption {
    /** Shown to whom it belongs only. */
    personal?: boolean;
  }
}
